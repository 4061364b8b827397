"""Makes the demo data set: real digits over real photographs, in ADE20K's layout, no download."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track
from sklearn.datasets import load_digits, load_sample_image

from lt_mm.datasets.digit_scenes_painter import (
    DIGIT_SIZES,
    crop_background,
    paint_scene,
    split_plane,
)
from lt_mm.datasets.long_tail_profile import PROFILES, long_tailed_counts

SPLITS = ('training', 'tuning', 'validation')
PHOTOGRAPHS = {'temple': 'china.jpg', 'dahlia': 'flower.jpg'}
CLASSES = (*PHOTOGRAPHS, *(f'digit {digit}' for digit in range(10)))
"""Photographs first, then digits from head to tail: by falling pixel frequency, as in ADE20K."""

INFO_FILE = 'dataset.json'
GENERATOR_VERSION = 2
HANDWRITING_BOUNDS = (0.5, 0.7)
"""Training ends and validation starts at these shares of each digit's images in file order."""

PHOTOGRAPH_BANDS = {'training': (0.4, 1.0), 'tuning': (0.25, 0.4), 'validation': (0.0, 0.25)}
"""Columns of each photograph, as shares of its width, that a split cuts its backgrounds from."""


@dataclass(frozen=True)
class DigitScenesParameters:
    """Everything that the content of the data set depends on.

    Args:
        seed (int): Seed; the same parameters give the same files, byte for byte.
        imbalance_factor (float): Training instances of digit 0 over those of digit 9.
        profile (str): How training instances fall with the digit, ``'exp'``, ``'zipf'`` or
            ``'step'``, see :func:`lt_mm.datasets.long_tailed_counts`.
        instances_per_image (int): Digits in an image, on average.
        num_training (int): Training images.
        num_tuning (int): Images to choose hyper-parameters on.
        num_validation (int): Images to report results on.
        image_size (int): Side of the square images in pixels.

    Raises:
        ValueError: If a value is out of its range.
    """

    seed: int = field(default=0, metadata={'help': 'the same seed gives the same files'})
    imbalance_factor: float = field(
        default=100.0, metadata={'help': 'training instances of digit 0 over those of digit 9'}
    )
    profile: str = field(
        default='exp', metadata={'help': f'fall of the training instances: {" or ".join(PROFILES)}'}
    )
    instances_per_image: int = field(default=4, metadata={'help': 'digits in an image, on average'})
    num_training: int = field(default=400, metadata={'help': 'training images'})
    num_tuning: int = field(default=100, metadata={'help': 'images to choose parameters on'})
    num_validation: int = field(default=200, metadata={'help': 'images to report results on'})
    image_size: int = field(default=96, metadata={'help': 'side of the images in pixels'})

    def __post_init__(self) -> None:
        smallest = {
            'seed': 0,
            'instances_per_image': 1,
            'num_training': 1,
            'num_tuning': 1,
            'num_validation': 1,
            'image_size': 2 * max(DIGIT_SIZES),
        }
        for name, bound in smallest.items():
            value = getattr(self, name)
            if value < bound:
                raise ValueError(f'{name}={value} is too small: give at least {bound}.')
        self.instances('training')

    def num_images(self, split: str) -> int:
        """Return the number of images of a split."""
        return getattr(self, f'num_{split}')

    def instances(self, split: str) -> np.ndarray:
        """Return the instances of each digit in a split, int64, shape (10,)."""
        total = self.instances_per_image * self.num_images(split)
        if split == 'training':
            return long_tailed_counts(total, 10, self.imbalance_factor, self.profile)
        return np.full(10, max(1, round(total / 10)))


def split_handwriting(targets: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Share handwriting out to splits so that no split sees another's.

    The file is ordered by writer, so contiguous ranges also keep the writers apart but for those
    at the two borders.

    Args:
        targets (np.ndarray): Digit of each image of the file in file order, shape (N,).

    Returns:
        dict[str, list[np.ndarray]]: For each split, the image indices of each digit.
    """
    per_digit = [np.flatnonzero(targets == digit) for digit in range(10)]
    pieces = [np.split(i, (np.array(HANDWRITING_BOUNDS) * len(i)).astype(int)) for i in per_digit]
    return dict(zip(SPLITS, map(list, zip(*pieces, strict=True)), strict=True))


def photograph_bands(split: str) -> list[np.ndarray]:
    """Return the columns of each photograph that belong to a split, BGR, uint8 (H, W', 3)."""
    start, stop = PHOTOGRAPH_BANDS[split]
    images = [load_sample_image(name)[..., ::-1] for name in PHOTOGRAPHS.values()]
    return [i[:, round(start * i.shape[1]) : round(stop * i.shape[1])] for i in images]


def make_digit_scenes(root: str | Path, parameters: DigitScenesParameters | None = None) -> dict:
    """Make the data set unless it is there already.

    It is written beside ``root`` and renamed into place, so ``root`` is never half a data set and
    several processes may call this at once.

    Args:
        root (str | Path): Folder to make.
        parameters (DigitScenesParameters, optional): What to make. Defaults to
            ``DigitScenesParameters()``.

    Returns:
        dict: Content of ``root/dataset.json``: parameters, classes, instances of each digit and
        indices of the handwriting used per split, and sources.

    Raises:
        FileExistsError: If ``root`` exists with other parameters or is something else.
    """
    root = Path(root)
    parameters = parameters or DigitScenesParameters()
    if root.exists():
        return read_info(root, _stamp(parameters))
    with new_folder(root) as draft:
        handwriting = {split: _write_split(draft, split, parameters) for split in SPLITS}
        info = {
            'parameters': _stamp(parameters),
            'classes': CLASSES,
            'instances': {
                s: dict(zip(CLASSES[2:], parameters.instances(s).tolist(), strict=True))
                for s in SPLITS
            },
            'handwriting': handwriting,
            'sources': {
                'digits': 'sklearn.datasets.load_digits (UCI, E. Alpaydin and C. Kaynak, 1998)',
                'photographs': 'sklearn.datasets.load_sample_images: china.jpg, flower.jpg '
                '(CC BY 2.0, credits in sklearn/datasets/images/README.txt)',
            },
        }
        (draft / INFO_FILE).write_text(json.dumps(info, indent=1) + '\n')
    return read_info(root, _stamp(parameters))


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Give a folder beside ``root`` to write to, and rename it to ``root`` once it is whole.

    Args:
        root (Path): What shall exist in the end; who comes second leaves it as it is.

    Yields:
        Path: The folder to write to, which does not exist yet.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f'.{root.name}-') as folder:
        draft = Path(folder) / root.name
        yield draft
        try:
            os.rename(draft, root)
        except OSError:
            if not root.exists():
                raise


def _stamp(parameters: DigitScenesParameters) -> dict:
    # 100 and 100.0 are the same data set and shall be the same bytes.
    factor = float(parameters.imbalance_factor)
    return {
        **asdict(parameters),
        'imbalance_factor': factor,
        'generator_version': GENERATOR_VERSION,
    }


def read_info(root: Path, wanted: dict) -> dict:
    """Read the description of an existing data set and insist that it is the one asked for.

    Args:
        root (Path): Folder of the data set.
        wanted (dict): Its parameters.

    Returns:
        dict: Content of ``root/dataset.json``.

    Raises:
        FileExistsError: If there is no description or its parameters are others.
    """
    if not (root / INFO_FILE).is_file():
        raise FileExistsError(
            f'{root} exists but has no {INFO_FILE}, so it was not made here: choose another folder.'
        )
    info = json.loads((root / INFO_FILE).read_text())
    found = info['parameters']
    differences = [
        f'{name}={found.get(name)!r} instead of {wanted.get(name)!r}'
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise FileExistsError(
            f'{root} was made with {", ".join(differences)}: delete it or choose another folder.'
        )
    return info


def _write_split(root: Path, split: str, parameters: DigitScenesParameters) -> list[int]:
    """Write the images and annotations of a split; return the handwriting used, ascending."""
    rng = np.random.default_rng([parameters.seed, SPLITS.index(split)])
    images, targets = load_digits(return_X_y=True)
    inks = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    pools = split_handwriting(targets)[split]
    # A pool smaller than its count is gone through again, never skipping anyone's handwriting.
    chosen = np.concatenate(
        [
            np.resize(rng.permutation(pool), count)
            for pool, count in zip(pools, parameters.instances(split), strict=True)
        ]
    )
    num_images = parameters.num_images(split)
    hands = np.array_split(rng.permutation(chosen), num_images)

    # As many images show the first photograph alone as the second alone; the rest show both.
    alone = num_images // 3
    kinds = rng.permutation(np.repeat([0, 1, 2], [alone, alone, num_images - 2 * alone]))
    bands = photograph_bands(split)
    image_dir, label_dir = root / 'images' / split, root / 'annotations' / split
    image_dir.mkdir(parents=True)
    label_dir.mkdir(parents=True)
    size = parameters.image_size
    for number in track(range(num_images), f'digit scenes, {split}'):
        kind, hand = kinds[number], hands[number]
        second = split_plane(rng, size) if kind == 2 else np.full((size, size), kind == 1)
        first_crop, second_crop = (crop_background(rng, band, size) for band in bands)
        background = np.where(second[..., None], second_crop, first_crop)
        labels = second.astype(np.uint8) + 1
        scene = paint_scene(rng, background, labels, inks[hand], targets[hand] + 3)
        name = f'{split}_{number:05d}'
        cv2.imwrite(str(image_dir / f'{name}.jpg'), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(label_dir / f'{name}.png'), scene.labels)
    return np.unique(chosen).tolist()
