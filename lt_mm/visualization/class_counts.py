"""Bar charts of class counts: how long the tail is, and which classes are in it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lt_mm.structures import ClassCounts, ClassGroups

COLORS = ('#1b6ca8', '#e0a030', '#c0392b', '#009E73', '#CC79A7', '#56B4E9')
"""Of the first group, the second and so on."""
NO_GROUP = '0.6'
_MOST_NAMES = 200


def draw_class_counts(
    class_counts: ClassCounts | Sequence[ClassCounts],
    path: str | os.PathLike | None = None,
    groups: ClassGroups | Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the count of every class on a log axis, group by group, each in a colour of its own.

    Head, body and tail thus stand by falling count. Each bar carries its number; a class without a
    group stands at the right end, in grey. Names are left out above 200 classes, numbers as well.

    Args:
        class_counts (ClassCounts | Sequence[ClassCounts]): What to draw; several are drawn below
            each other, each in its own order.
        path (str | PathLike, optional): Where to write the picture; the folder is made if need be.
            Defaults to None, which writes nothing.
        groups (ClassGroups | dict, optional): Groups of classes, or the arguments of
            `ClassGroups.of`. Defaults to None: those of the task's metric, which are head, body and
            tail if pixels are drawn, and many, medium and few shot otherwise.

    Returns:
        Figure: The chart.
    """
    panels = [class_counts] if isinstance(class_counts, ClassCounts) else list(class_counts)
    most = max(counts.num_classes for counts in panels)
    width = min(max(9.0, 0.17 * most), 34.0)
    figure = Figure(figsize=(width, 5.2 * len(panels)), dpi=120, layout='constrained')
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    task = 'pixels' if any(counts.unit == 'pixels' for counts in panels) else 'images'
    rule = ClassGroups.of(groups, task)
    for axes, counts in zip(rows, panels, strict=True):
        _draw_panel(axes, counts, rule)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return figure


def _draw_panel(axes: Axes, class_counts: ClassCounts, rule: ClassGroups) -> None:
    counts = class_counts.counts
    total, smallest = counts.sum().item(), counts[counts > 0].min().item()
    groups = rule.split(class_counts)
    colors = [COLORS[i % len(COLORS)] for i in range(len(groups))]
    left = torch.ones_like(counts).index_fill(0, torch.cat(list(groups.values())), 0).nonzero()
    if len(left):
        groups['no group'] = left.flatten()
        colors.append(NO_GROUP)
    order, start = [], 0
    for (group, members), color in zip(groups.items(), colors, strict=True):
        if rule.needs_counts:
            members = members[counts[members].sort(descending=True, stable=True).indices]
        values = counts[members].tolist()
        label = f'{group}: {len(members)} classes, {sum(values) / total:.1%} of the total'
        axes.bar(range(start, start + len(members)), values, color=color, label=label)
        order += members.tolist()
        start += len(members)
    axes.set_yscale('log')
    # Half of the smallest count, so that the smallest bar is seen.
    bottom = smallest / 2
    axes.set_ylim(bottom=bottom)
    crowded = len(order) > 12
    for x, c in enumerate(order):
        if counts[c] == 0:
            axes.text(x, bottom * 1.05, '0', ha='center', va='bottom', color=COLORS[2])
        elif len(order) <= _MOST_NAMES:
            number = int(counts[c])
            style = dict(ha='center', va='bottom', fontsize=7, rotation=90 if crowded else 0)
            axes.text(x, number * 1.05, _short(number), **style)
    if len(order) <= _MOST_NAMES:
        names = class_counts.class_names or range(len(order))
        axes.set_xticks(range(len(order)), [str(names[c]) for c in order])
        axes.tick_params(axis='x', rotation=90 if crowded else 30, labelsize=9 if crowded else 11)
    axes.set_xlim(-0.8, len(order) - 0.2)
    falling = (counts[order].diff() <= 0).all()
    ordered = f'falling number of {class_counts.unit}' if falling else 'group'
    axes.set_xlabel(f'class, by {ordered}', fontsize=12)
    axes.set_ylabel(f'{class_counts.unit} (log scale)', fontsize=12)
    factor = class_counts.imbalance_factor
    name = class_counts.name or 'class counts'
    axes.set_title(f'{name}: {len(order)} classes, imbalance factor {factor:,.0f}', fontsize=13)
    axes.grid(axis='y', alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=11)


def _short(number: int) -> str:
    """At most five characters: 950, 12.3k, 4.56M."""
    for unit, letter in ((10**12, 'T'), (10**9, 'G'), (10**6, 'M'), (10**3, 'k')):
        if number >= unit:
            return f'{number / unit:.3g}{letter}'
    return str(number)
