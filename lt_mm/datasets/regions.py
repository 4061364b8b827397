"""Connected regions of each class in a segmentation map, and their sizes."""

import numpy as np
from scipy import ndimage

SIZE_BINS = 32
"""Bin k holds regions of 2^k to 2^(k+1) - 1 pixels."""


def label_regions(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the connected regions of a map; pixels that touch at a corner are connected.

    Args:
        labels (np.ndarray): Class of each pixel, shape (H, W), integers; below 0 belongs to no
            region.

    Returns:
        tuple[np.ndarray, np.ndarray]: Of each pixel the number of its region from 1, or 0, int64,
        shape (H, W); and the class of each region, int64, shape (R,), that of region r at r - 1.
    """
    regions = np.zeros(labels.shape, dtype=np.int64)
    classes = [np.zeros(0, dtype=np.int64)]
    found = 0
    for c, place in enumerate(ndimage.find_objects(labels + 1)):
        if place is None:
            continue
        parts, number = ndimage.label(labels[place] == c, structure=np.ones((3, 3)))
        regions[place] += np.where(parts > 0, parts.astype(np.int64) + found, 0)
        classes.append(np.full(number, c, dtype=np.int64))
        found += number
    return regions, np.concatenate(classes)


def size_bin(areas: np.ndarray) -> np.ndarray:
    """The bin of :data:`SIZE_BINS` that regions of some areas are in.

    Args:
        areas (np.ndarray): Pixels, at least 1.

    Returns:
        np.ndarray: floor(log2(area)), exact, int64, in the shape of ``areas``.
    """
    return np.frexp(np.asarray(areas, dtype=np.float64))[1].astype(np.int64) - 1


def pixels_and_regions(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels of each class, then the number of its regions in each bin of sizes.

    Args:
        labels (np.ndarray): As of :func:`label_regions`.
        num_classes (int): C.

    Returns:
        np.ndarray: Shape (C + C * SIZE_BINS,), int64.
    """
    pixels = np.bincount(labels[labels >= 0], minlength=num_classes)
    regions, classes = label_regions(labels)
    areas = np.bincount(regions.ravel(), minlength=len(classes) + 1)[1:]
    cells = np.bincount(classes * SIZE_BINS + size_bin(areas), minlength=num_classes * SIZE_BINS)
    return np.concatenate([pixels, cells])
