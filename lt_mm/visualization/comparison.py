"""Figures of several methods over seeds, as dots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lt_mm.visualization.per_class import COLORS


def plot_comparison(
    figures: Mapping[str, Mapping[str, Sequence[float]]], path: str | Path, unit: str = '%'
) -> Path:
    """Draw one panel a figure: a row a method, a dot a seed, and their mean with its deviation.

    The mean of the first method goes down through all rows.

    Args:
        figures: heading to method to its value of every seed; NaN gets no dot.
        path: of the picture; the ending chooses the format, folders are made.
        unit: of the values.

    Returns:
        The file written.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if not figures or not all(figures.values()):
        raise ValueError('figures is empty: give at least one heading with one method.')
    methods = list(next(iter(figures.values())))
    height = 0.42 * len(methods) + 1.2
    figure = Figure(figsize=(3.0 * len(figures) + 2.5, height), dpi=130, layout='constrained')
    panels = figure.subplots(1, len(figures), sharey=True, squeeze=False)[0]
    for axes, (heading, values) in zip(panels, figures.items(), strict=True):
        for row, method in enumerate(methods):
            known = np.asarray(values[method], dtype=np.float64)
            known = known[~np.isnan(known)]
            if not known.size:
                continue
            color = COLORS[row % len(COLORS)]
            deviation = known.std(ddof=1) if known.size > 1 else 0.0
            axes.plot(known, np.full(known.size, row), 'o', color=color, alpha=0.35, markersize=6)
            axes.errorbar(
                known.mean(), row, xerr=deviation, fmt='D', color=color, capsize=4, markersize=7
            )
            if row == 0:
                axes.axvline(known.mean(), color='0.6', linestyle=':', linewidth=1.5)
        axes.set_title(f'{heading} ({unit})', fontsize=13)
        axes.grid(axis='x', color='0.9')
        axes.tick_params(labelsize=11)
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].invert_yaxis()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
