"""Figures of a model against the strength of its logit adjustment."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lt_mm.visualization.per_class import COLORS, LINES


def plot_alpha_sweep(
    alphas: Sequence[float],
    figures: Mapping[str, np.ndarray],
    trained: float,
    chosen: float,
    path: str | Path,
) -> Path:
    """Draw one curve a figure.

    Args:
        alphas: A strengths, rising.
        figures: names to (A,) percentages.
        trained: strength that the model was trained with.
        chosen: strength that was chosen.
        path: of the picture; folders are made.

    Returns:
        The file written.
    """
    figure = Figure(figsize=(9, 5.5), dpi=120, layout='constrained')
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(figures.items()):
        style = dict(color=COLORS[i % len(COLORS)], linestyle=LINES[i % len(LINES)])
        axes.plot(alphas, values, label=name, linewidth=2.5, marker='.', **style)
    axes.axvline(trained, color='0.5', linewidth=1.5, linestyle=':', label='as trained')
    axes.axvline(chosen, color='0.2', linewidth=1.5, linestyle='-', label='chosen')
    axes.set_xlabel('alpha of the logit adjustment', fontsize=16)
    axes.set_ylabel('%', fontsize=16)
    axes.tick_params(labelsize=13)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=13)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
