"""Make the demo data set of lt_mm: handwritten digits over photographs, no download needed."""

import argparse
from dataclasses import fields
from pathlib import Path

from lt_mm.datasets import DigitScenesParameters, make_digit_scenes


def parse_args() -> argparse.Namespace:
    """Read the command line: one option for each parameter of the data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('root', nargs='?', type=Path, default='data/digit_scenes', help='folder')
    for field in fields(DigitScenesParameters):
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
    info = make_digit_scenes(root, DigitScenesParameters(**arguments))
    for split, instances in info['instances'].items():
        print(f'{root}, {split}: {", ".join(f"{n} x {name}" for name, n in instances.items())}')


if __name__ == '__main__':
    main()
