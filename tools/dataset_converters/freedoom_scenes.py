"""Make Freedoom scenes: frames of game levels, about 100 classes with a natural tail."""

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image

from lt_mm.datasets.freedoom_scenes_maker import FreedoomScenesParameters, make_freedoom_scenes
from lt_mm.visualization.samples import plot_samples


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
    parser.add_argument('--sheet', type=Path, help='also draw a frame for each class in this file')
    return parser.parse_args()


def main() -> None:
    """Make the data set and say what is in it."""
    arguments = vars(parse_args())
    root, sheet = arguments.pop('root'), arguments.pop('sheet')
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
    if sheet:
        print(f'A frame for each class: {plot_classes(root, info, sheet)}')


def plot_classes(root: Path, info: dict, path: Path) -> Path:
    """Draw a training frame for each class, the rest of it dark.

    Args:
        root: of the data set.
        info: content of its ``dataset.json``.
        path: of the picture.

    Returns:
        The file written.
    """
    classes, best = info['classes'], {}
    for file in sorted((root / 'annotations' / 'training').glob('*.png')):
        pixels = np.bincount(np.asarray(Image.open(file)).ravel(), minlength=256)
        for number, name in enumerate(classes, 1):
            if pixels[number] > best.get(name, (0,))[0]:
                best[name] = pixels[number], file, number
    samples = []
    for name in filter(best.get, classes):
        _, file, number = best[name]
        image = np.asarray(Image.open(root / 'images' / 'training' / f'{file.stem}.jpg'))
        shown = np.asarray(Image.open(file))[..., None] == number
        image = np.where(shown, image, image // 3)
        samples.append((image, None, f'{name}, {info["pixels"]["training"][name]:,} px'))
    return plot_samples(samples, None, path)


if __name__ == '__main__':
    main()
