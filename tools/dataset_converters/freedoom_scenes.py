"""Make Freedoom scenes: frames of game levels, about 100 classes with a natural tail."""

import argparse
from dataclasses import fields
from pathlib import Path

from lt_mm.datasets.freedoom_scenes_maker import FreedoomScenesParameters, make_freedoom_scenes


def parse_args() -> argparse.Namespace:
    """Read the command line: one option for each parameter of the data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('root', nargs='?', type=Path, default='data/freedoom_scenes', help='folder')
    for field in fields(FreedoomScenesParameters):
        parser.add_argument(
            '--' + field.name.replace('_', '-'),
            type=type(field.default),
            default=field.default,
            help=field.metadata['help'],
        )
    return parser.parse_args()


def main() -> None:
    """Make the data set and say what is in it."""
    arguments = vars(parse_args())
    root = arguments.pop('root')
    info = make_freedoom_scenes(root, FreedoomScenesParameters(**arguments))
    for split, pixels in info['pixels'].items():
        absent = info['absent'][split]
        print(
            f'{root}, {split}: {sum(n > 0 for n in pixels.values())} of {len(pixels)} classes, '
            f'{max(pixels.values())} to {min(filter(None, pixels.values()))} pixels. '
            f'Absent: {", ".join(absent) or "none"}.'
        )
    if info['left_out']:
        print(f'Unlabelled for want of training frames: {", ".join(info["left_out"])}.')


if __name__ == '__main__':
    main()
