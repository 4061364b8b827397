"""Bar charts of class counts: how long the tail is, and which classes are in it."""

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lt_mm.structures import ClassCounts

COLORS = {'head': '#1b6ca8', 'body': '#e0a030', 'tail': '#c0392b'}
_MOST_NAMES = 200


def draw_class_counts(
    class_counts: ClassCounts | Sequence[ClassCounts],
    path: str | os.PathLike | None = None,
    sizes: Sequence[int] | None = None,
) -> Figure:
    """Draw classes by falling count on a log axis, coloured by head, body and tail.

    Classes without a sample stand at the right end, marked with a 0. Names are left out above 200
    classes.

    Args:
        class_counts (ClassCounts | Sequence[ClassCounts]): What to draw; several are drawn below
            each other, each in its own order.
        path (str | PathLike, optional): Where to write the picture; the folder is made if need be.
            Defaults to None, which writes nothing.
        sizes (Sequence[int], optional): Classes in head, body and tail, as for
            `ClassCounts.groups`. Defaults to None.

    Returns:
        Figure: The chart.
    """
    panels = [class_counts] if isinstance(class_counts, ClassCounts) else list(class_counts)
    most = max(counts.num_classes for counts in panels)
    width = min(max(9.0, 0.17 * most), 34.0)
    figure = Figure(figsize=(width, 5.2 * len(panels)), dpi=120, layout='constrained')
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, counts in zip(rows, panels, strict=True):
        _draw_panel(axes, counts, sizes)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return figure


def _draw_panel(axes: Axes, class_counts: ClassCounts, sizes: Sequence[int] | None) -> None:
    counts = class_counts.counts
    total, smallest = counts.sum().item(), counts[counts > 0].min().item()
    order, start = [], 0
    for group, members in class_counts.groups(sizes).items():
        values = counts[members].tolist()
        label = f'{group}: {len(members)} classes, {sum(values) / total:.1%} of the total'
        axes.bar(range(start, start + len(members)), values, color=COLORS[group], label=label)
        order += members.tolist()
        start += len(members)
    axes.set_yscale('log')
    # Half of the smallest count, so that the smallest bar is seen.
    bottom = smallest / 2
    axes.set_ylim(bottom=bottom)
    for x, c in enumerate(order):
        if counts[c] == 0:
            axes.text(x, bottom * 1.05, '0', ha='center', va='bottom', color=COLORS['tail'])
    if len(order) <= _MOST_NAMES:
        names = class_counts.class_names or range(len(order))
        axes.set_xticks(range(len(order)), [str(names[c]) for c in order])
        crowded = len(order) > 12
        axes.tick_params(axis='x', rotation=90 if crowded else 30, labelsize=9 if crowded else 11)
    axes.set_xlim(-0.8, len(order) - 0.2)
    axes.set_xlabel(f'class, by falling number of {class_counts.unit}', fontsize=12)
    axes.set_ylabel(f'{class_counts.unit} (log scale)', fontsize=12)
    factor = class_counts.imbalance_factor
    name = class_counts.name or 'class counts'
    axes.set_title(f'{name}: {len(order)} classes, imbalance factor {factor:,.0f}', fontsize=13)
    axes.grid(axis='y', alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=11)
