"""Samples as a model is given them, and how often each class comes."""

import colorsys
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lt_mm.visualization.per_class import COLORS, MARKERS

_COLUMNS = 6
_MOST_NAMES = 200
_TITLE = 34


def plot_samples(
    samples: Sequence[tuple[np.ndarray, np.ndarray | None, str]],
    palette: np.ndarray | None,
    path: str | Path,
) -> Path:
    """Draw samples in a grid; label maps stand beneath their images, unlabelled pixels white.

    Args:
        samples: image (H, W, 3) uint8, its map (H, W) with -1 where unlabelled or None, and a
            title.
        palette: (C, 3) uint8; None for colours spread over the hues.
        path: of the picture; folders are made.

    Returns:
        The file written.
    """
    columns = min(_COLUMNS, len(samples))
    rows = math.ceil(len(samples) / columns)
    first, first_map, _ = samples[0]
    ratio = first.shape[0] / first.shape[1] * (1 if first_map is None else 2)
    size = (2.2 * columns, rows * (2.2 * min(ratio, 3) + 0.4))
    figure = Figure(figsize=size, dpi=120, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis('off')
    for axes, (image, labels, title) in zip(grid.flat, samples, strict=False):
        if labels is not None:
            painted = np.full((*labels.shape, 3), 255, np.uint8)
            known = labels >= 0
            painted[known] = (_hues(int(labels.max()) + 1) if palette is None else palette)[
                labels[known]
            ]
            image = np.concatenate([image, painted])
        axes.imshow(image, interpolation='nearest')
        shortened = title if len(title) <= _TITLE else f'{title[: _TITLE - 3]}...'
        axes.set_title(shortened or 'no label', fontsize=8)
    return _save(figure, path)


def plot_frequencies(
    shares: Mapping[str, np.ndarray], names: Sequence[str], path: str | Path
) -> Path:
    """Draw shares of classes on a log axis, the first's most frequent class first.

    Args:
        shares: who to (C,) shares; one of 0 is left out.
        names: of the C classes; left out above 200.
        path: of the picture; folders are made.

    Returns:
        The file written.
    """
    order = np.argsort(-next(iter(shares.values())), kind='stable')
    width = min(max(9.0, 0.17 * len(order)), 34.0)
    figure = Figure(figsize=(width, 5.2), dpi=120, layout='constrained')
    axes = figure.add_subplot()
    places = np.arange(len(order))
    for i, (who, values) in enumerate(shares.items()):
        values = 100 * np.asarray(values)[order]
        style = dict(color=COLORS[i % len(COLORS)], marker=MARKERS[i % len(MARKERS)])
        seen = values > 0
        axes.plot(places[seen], values[seen], label=who, linewidth=1, markersize=6, **style)
    axes.set_yscale('log')
    axes.set_ylabel('% (log scale)', fontsize=13)
    axes.set_xlabel(f'class, by falling share of the {next(iter(shares))}', fontsize=13)
    if len(order) <= _MOST_NAMES:
        axes.set_xticks(places, [str(names[c]) for c in order], rotation=90)
    axes.set_xlim(-0.8, len(order) - 0.2)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=12)
    return _save(figure, path)


def _hues(number: int) -> np.ndarray:
    """(number, 3) uint8: neighbours are far apart, by the golden ratio."""
    colors = [colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, 0.85) for i in range(number)]
    return (255 * np.array(colors)).astype(np.uint8)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
