"""Confusion matrices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

_MOST_NUMBERS = 20
_MOST_NAMES = 200


def plot_confusion(matrix: np.ndarray, names: Sequence[str], path: str | Path) -> Path:
    """Draw the percentages of each row; numbers up to 20 classes, names up to 200.

    Args:
        matrix: (C, C) labels by predictions.
        names: of the C classes.
        path: of the picture; folders are made.

    Returns:
        The file written.
    """
    matrix = np.asarray(matrix, np.float64)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(6.0, 0.17 * len(names) + 2), 30.0)
    figure = Figure(figsize=(side * 1.1, side), dpi=120, layout='constrained')
    axes = figure.add_subplot()
    shown = ConfusionMatrixDisplay(shares, display_labels=names)
    shown.plot(
        ax=axes,
        include_values=len(names) <= _MOST_NUMBERS,
        values_format='.0f',
        cmap='Blues',
        xticks_rotation='vertical',
        im_kw=dict(vmin=0, vmax=100),
        text_kw=dict(fontsize=8),
    )
    if len(names) > _MOST_NAMES:
        axes.set(xticks=[], yticks=[])
    axes.tick_params(labelsize=8)
    axes.set(xlabel='prediction', ylabel='label', title='% of the label')
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
