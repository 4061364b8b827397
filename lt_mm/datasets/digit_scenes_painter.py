"""Paints one scene of the demo data set: handwritten digits over photographs, with its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

UNLABELLED = 0
DIGIT_SIZES = (28, 42)
"""Smallest and largest side, in pixels, that the 8x8 grid of a digit is scaled to."""

NO_INK, FAINT_INK, SOLID_INK, FULL_INK = 0.15, 0.25, 0.5, 0.65
"""Ink in [0, 1]: transparent up to NO_INK, opaque from FULL_INK on, in proportion between; pixels
are labelled as digit from SOLID_INK on and unlabelled from FAINT_INK to there."""

MAX_ROTATION = 12.0
CROP_SIDES = (60, 96)
BACKGROUND_BRIGHTNESS = 0.55
"""Photographs are dimmed so that ink is always the lighter: small networks learn digits sooner."""

LUMA = np.array([0.114, 0.587, 0.299])
"""Weights of blue, green and red in brightness (ITU-R BT.601)."""

TINT_RANGE = (90, 255)
TINT_TRIES = 64
MIN_CONTRAST = 75.0
MIN_VISIBLE = 0.85
PLACEMENT_TRIES = 40
HOLE_PROBABILITY = 0.25
HOLE_SIDES = (6, 16)


@dataclass(frozen=True)
class Scene:
    """A painted scene.

    Attributes:
        image (np.ndarray): BGR image, uint8, shape (H, W, 3).
        labels (np.ndarray): 0 where unlabelled, class + 1 elsewhere, uint8, shape (H, W).
        visible (np.ndarray): Share of the solid ink of each digit that no later digit covers,
            float64, shape (number of digits,).
    """

    image: np.ndarray
    labels: np.ndarray
    visible: np.ndarray


def crop_background(rng: np.random.Generator, photograph: np.ndarray, size: int) -> np.ndarray:
    """Cut a random square out of a photograph, flip it at random, resize and dim it.

    Args:
        rng (np.random.Generator): Source of randomness.
        photograph (np.ndarray): uint8, shape (H, W, 3), no side under ``max(CROP_SIDES)``.
        size (int): Side of the result in pixels.

    Returns:
        np.ndarray: uint8, shape (size, size, 3).
    """
    side = rng.integers(*CROP_SIDES, endpoint=True)
    top, left = (rng.integers(0, n - side, endpoint=True) for n in photograph.shape[:2])
    crop = photograph[top : top + side, left : left + side]
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    crop = cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.rint(crop * BACKGROUND_BRIGHTNESS).astype(np.uint8)


def split_plane(rng: np.random.Generator, size: int) -> np.ndarray:
    """Divide a square by a random slanted line that leaves a fair share on either side.

    Args:
        rng (np.random.Generator): Source of randomness.
        size (int): Side of the square in pixels.

    Returns:
        np.ndarray: True on one side of the line, bool, shape (size, size).
    """
    angle = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(-0.2, 0.2) * size
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return x * np.cos(angle) + y * np.sin(angle) > offset


def scale_ink(ink: np.ndarray, size: float, angle: float) -> np.ndarray:
    """Enlarge and turn the ink of one digit and trim what holds none.

    Args:
        ink (np.ndarray): Ink in [0, 1], float32, shape (8, 8).
        size (float): Side in pixels that the 8 cells are enlarged to.
        angle (float): Counter-clockwise rotation in degrees.

    Returns:
        np.ndarray: Ink in [0, 1], float32, shape (h, w), both at most about 1.5 * size.
    """
    side = int(np.ceil(1.5 * size))
    matrix = cv2.getRotationMatrix2D(
        ((ink.shape[1] - 1) / 2, (ink.shape[0] - 1) / 2), angle, size / ink.shape[0]
    )
    matrix[:, 2] += (side - np.array(ink.shape[::-1])) / 2
    turned = cv2.warpAffine(ink, matrix, (side, side), flags=cv2.INTER_CUBIC).clip(0, 1)
    x, y, width, height = cv2.boundingRect((turned > NO_INK).astype(np.uint8))
    return turned[y : y + height, x : x + width]


def place(
    rng: np.random.Generator, ink: np.ndarray, owner: np.ndarray, areas: Sequence[int]
) -> tuple[slice, slice]:
    """Find a place for a digit where every earlier digit keeps most of its pixels.

    Args:
        rng (np.random.Generator): Source of randomness.
        ink (np.ndarray): Ink of the new digit, shape (h, w).
        owner (np.ndarray): Index of the digit that shows at each pixel, -1 for none, shape (H, W).
        areas (Sequence[int]): Pixels of solid ink of each earlier digit before any was covered.

    Returns:
        tuple[slice, slice]: Rows and columns of the first place that leaves at least MIN_VISIBLE
        of each earlier digit, or of the best one tried where none does.
    """
    covers = ink >= FAINT_INK
    showing = np.bincount(owner[owner >= 0], minlength=len(areas))
    best, best_share = None, -1.0
    for _ in range(PLACEMENT_TRIES):
        top, left = (
            rng.integers(0, n - m, endpoint=True)
            for n, m in zip(owner.shape, ink.shape, strict=True)
        )
        window = slice(top, top + ink.shape[0]), slice(left, left + ink.shape[1])
        under = owner[window][covers]
        lost = np.bincount(under[under >= 0], minlength=len(areas))
        share = ((showing - lost) / np.maximum(areas, 1)).min(initial=1.0)
        if share > best_share:
            best, best_share = window, share
        if share >= MIN_VISIBLE:
            break
    return best


def choose_tint(rng: np.random.Generator, background: np.ndarray) -> np.ndarray:
    """Draw a tint that is clearly lighter than the local background and says nothing of the class.

    Args:
        rng (np.random.Generator): Source of randomness.
        background (np.ndarray): Mean BGR colour under the digit in [0, 255], shape (3,).

    Returns:
        np.ndarray: BGR in [0, 255], float64, shape (3,).
    """
    tints = rng.uniform(*TINT_RANGE, size=(TINT_TRIES, 3))
    contrast = (tints - background) @ LUMA
    enough = contrast >= MIN_CONTRAST
    return tints[enough.argmax() if enough.any() else contrast.argmax()]


def paint_scene(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    inks: Sequence[np.ndarray],
    digit_labels: Sequence[int],
) -> Scene:
    """Paint digits over a background and keep the labels in step.

    Args:
        rng (np.random.Generator): Source of randomness.
        image (np.ndarray): Background, BGR, uint8, shape (H, W, 3); not changed.
        labels (np.ndarray): Labels of the background, class + 1, uint8, shape (H, W); not changed.
        inks (Sequence[np.ndarray]): Ink of each digit in [0, 1], float32, shape (8, 8).
        digit_labels (Sequence[int]): Label (class + 1) of each digit.

    Returns:
        Scene: Image, labels and how much of each digit shows.
    """
    canvas, labels = image.astype(np.float64), labels.copy()
    owner = np.full(labels.shape, -1)
    areas: list[int] = []
    for index, (small, label) in enumerate(zip(inks, digit_labels, strict=True)):
        ink = scale_ink(small, rng.uniform(*DIGIT_SIZES), rng.uniform(-MAX_ROTATION, MAX_ROTATION))
        window = place(rng, ink, owner, areas)
        solid, faint = ink >= SOLID_INK, ink >= FAINT_INK
        tint = choose_tint(rng, canvas[window][faint].mean(axis=0))
        opacity = ((ink - NO_INK) / (FULL_INK - NO_INK)).clip(0, 1)
        canvas[window] += (tint - canvas[window]) * opacity[..., None]
        labels[window][faint] = UNLABELLED
        labels[window][solid] = label
        owner[window][faint] = -1
        owner[window][solid] = index
        areas.append(int(solid.sum()))

    if rng.random() < HOLE_PROBABILITY:
        height, width = rng.integers(*HOLE_SIDES, size=2, endpoint=True)
        top, left = rng.integers(0, np.array(labels.shape) - (height, width), endpoint=True)
        labels[top : top + height, left : left + width] = UNLABELLED

    showing = np.bincount(owner[owner >= 0], minlength=len(areas))
    return Scene(np.rint(canvas).astype(np.uint8), labels, showing / np.maximum(areas, 1))
