"""Histograms of learnt weights by groups of classes."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure


def draw_meta_weights(
    centres: Sequence[float], counts: Mapping[str, Sequence[float]], label: str
) -> Figure:
    """Draw how often each group of classes got which conditional weight.

    Args:
        centres: of the bins, (B,).
        counts: name of a group to its (B,) numbers of elements; drawn as shares of the group.
        label: of the axis.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6, 3.5), layout='constrained')
    axes = figure.add_subplot()
    for name, numbers in counts.items():
        total = sum(numbers)
        if total:
            axes.step(centres, [n / total for n in numbers], where='mid', label=name)
    axes.axvline(0, color='0.7', linewidth=0.8)
    axes.set(xlabel=label, ylabel='share of the group', ylim=(0, None))
    axes.legend(frameon=False)
    return figure
