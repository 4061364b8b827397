"""Images, their ground truth and what each method predicts, side by side."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

MAX_CLASSES_ALL_SHOWN = 30
WIDTH_OF_A_PICTURE = 3.2
STRIPE_LIGHT, STRIPE_DARK = 255, 200


def plot_predictions(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: Mapping[str, Sequence[np.ndarray]],
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]],
    path: str | Path,
    ignore_index: int = 255,
) -> Path:
    """Draw a grid and write it: a row per image; image, ground truth and each method as columns.

    The classes and their colours stand beneath: all of them up to 30 classes, above that those
    that occur. Unlabelled pixels are striped grey and white, which no palette can imitate.

    Args:
        images (Sequence[np.ndarray]): RGB images, (H, W, 3) uint8; sizes may differ between rows.
        truths (Sequence[np.ndarray]): Integer class maps, (H, W), with ``ignore_index`` where
            unlabelled.
        predictions (Mapping[str, Sequence[np.ndarray]]): Method name to its class maps, one
            (H, W) integer array per image.
        class_names (Sequence[str]): The C names.
        palette (Sequence[Sequence[int]]): The C colours, RGB from 0 to 255.
        path (str | Path): Where to write; the ending chooses the format, folders are made.
        ignore_index (int): Label of unlabelled pixels.

    Returns:
        Path: The file written.

    Raises:
        ValueError: If there is no image, the numbers of maps or colours differ, a map has another
            shape than its image, or holds a label that is neither a class nor ``ignore_index``.
    """
    columns = {'ground truth': truths, **predictions}
    maps = {title: [np.asarray(each) for each in column] for title, column in columns.items()}
    images = [np.asarray(image) for image in images]
    colors = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    _check(images, maps, len(class_names), len(colors), ignore_index)

    drawn = np.unique(np.concatenate([np.unique(m) for column in maps.values() for m in column]))
    unlabelled = ignore_index in drawn
    if len(class_names) <= MAX_CLASSES_ALL_SHOWN:
        listed = list(range(len(class_names)))
    else:
        listed = [int(label) for label in drawn if label != ignore_index]
    handles = [
        Patch(facecolor=colors[c] / 255, edgecolor='0.3', label=class_names[c]) for c in listed
    ]
    if unlabelled:
        gray = str(STRIPE_DARK / 255)
        handles.append(Patch(fc='white', ec=gray, hatch='////', label='unlabelled'))

    width = max(WIDTH_OF_A_PICTURE * (len(maps) + 1), 8.0)
    column_width = width / (len(maps) + 1)
    heights = [column_width * image.shape[0] / image.shape[1] for image in images]
    longest = max(len(handle.get_label()) for handle in handles)
    entries_a_row = max(1, int(width / (0.65 + 0.125 * longest)))
    legend_height = 0.32 * math.ceil(len(handles) / entries_a_row) + 0.3

    figure = Figure(
        figsize=(width, sum(heights) + 0.4 + legend_height), dpi=150, layout='constrained'
    )
    grid = figure.subplots(len(images), len(maps) + 1, squeeze=False, height_ratios=heights)
    for row, image in enumerate(images):
        grid[row, 0].imshow(image, cmap='gray')
        for axes, column in zip(grid[row, 1:], maps.values(), strict=True):
            axes.imshow(_paint(column[row], colors, ignore_index), interpolation='nearest')
    for axes, title in zip(grid[0], ['image', *maps], strict=True):
        axes.set_title(title, fontsize=16)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=min(entries_a_row, len(handles)),
        fontsize=14,
        frameon=False,
        handlelength=1.4,
        handleheight=1.1,
        columnspacing=1.2,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _paint(labels: np.ndarray, colors: np.ndarray, ignore_index: int) -> np.ndarray:
    """Turn class maps (H, W) into colours (H, W, 3), unlabelled pixels into diagonal stripes."""
    height, width = labels.shape
    stripe = max(1, max(height, width) // 80)
    diagonal = np.add.outer(np.arange(height), np.arange(width)) // stripe % 2
    painted = np.where(diagonal, STRIPE_DARK, STRIPE_LIGHT).astype(np.uint8)
    painted = np.repeat(painted[..., None], 3, axis=2)
    labelled = labels != ignore_index
    painted[labelled] = colors[labels[labelled]]
    return painted


def _check(
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    num_classes: int,
    num_colors: int,
    ignore_index: int,
) -> None:
    if not images:
        raise ValueError('images is empty: give at least one image to draw.')
    if num_colors != num_classes:
        raise ValueError(
            f'palette has {num_colors} colours for {num_classes} class names: give one per class.'
        )
    for title, column in maps.items():
        if len(column) != len(images):
            raise ValueError(
                f'{title} has {len(column)} class maps for {len(images)} images: give one each.'
            )
        for row, (image, labels) in enumerate(zip(images, column, strict=True)):
            if labels.shape != image.shape[:2]:
                raise ValueError(
                    f'{title}, row {row}, has shape {labels.shape} but its image is '
                    f'{image.shape[:2]}: resize the class map to the image, nearest neighbour.'
                )
            foreign = labels[(labels != ignore_index) & ((labels < 0) | (labels >= num_classes))]
            if foreign.size:
                raise ValueError(
                    f'{title}, row {row}, holds label {foreign[0]}, but classes go from 0 to '
                    f'{num_classes - 1}: pass the ignore_index of these maps, '
                    f'now {ignore_index}, or the right class_names.'
                )
