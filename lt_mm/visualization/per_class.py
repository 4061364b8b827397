"""Accuracy of every class against how often it was seen in training, one series per method."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.isotonic import isotonic_regression

# Okabe and Ito's colours, told apart with any colour vision; their yellow is lost on white.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
LINES = ('-', '--', '-.', ':', (0, (8, 2)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MAX_NAMED_CLASSES = 30
WIDTH = 11.0
NAME_SIZE = 12.0


def plot_accuracy_against_frequency(
    counts: Sequence[int],
    accuracies: Mapping[str, Sequence[float]],
    class_names: Sequence[str],
    path: str | Path,
    ylabel: str = 'accuracy (%)',
    xlabel: str = 'training pixels per class',
) -> Path:
    """Draw per-class accuracy against training frequency and write it as a picture.

    Up to 30 classes, every class is named above the data and a line joins a method's classes from
    rare to frequent. With more, the points stand alone and the line is the mean over a sliding
    tenth of the classes. A class without an accuracy (NaN) gets no point; a class never seen in
    training stands at 0, left of the logarithmic part of the axis.

    Args:
        counts (Sequence[int]): Training pixels (or images) of each class, (C,).
        accuracies (Mapping[str, Sequence[float]]): Method name to its per-class percentages, (C,);
            NaN where a class was not evaluated.
        class_names (Sequence[str]): The C names.
        path (str | Path): Where to write; the ending chooses the format, folders are made.
        ylabel (str): Label of the vertical axis.
        xlabel (str): Label of the horizontal axis.

    Returns:
        Path: The file written.

    Raises:
        ValueError: If there is no method, the lengths differ, a count is negative or all are 0, or
            a method has no number for any class that has a count.
    """
    count = np.asarray(counts, dtype=np.float64)
    values = {method: np.asarray(each, np.float64) for method, each in accuracies.items()}
    _check(count, values, class_names)
    order = np.argsort(count, kind='stable')
    named = len(count) <= MAX_NAMED_CLASSES

    figure = Figure(figsize=(WIDTH, 7.5), dpi=150, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = figure.add_subplot()
    scale_of_counts(axes, count)
    for index, (method, value) in enumerate(values.items()):
        evaluated = order[~np.isnan(value[order])]
        x, y = count[evaluated], value[evaluated]
        color, marker, line = (styles[index % len(styles)] for styles in (COLORS, MARKERS, LINES))
        if named:
            axes.plot(x, y, color=color, marker=marker, ls=line, lw=1.8, ms=9, label=method)
            continue
        axes.plot(x, y, color=color, marker=marker, ls='', ms=5, alpha=0.45, mew=0)
        x, y = x[x > 0], y[x > 0]
        window = max(1, len(y) // 10)
        mean = np.ones(window) / window
        axes.plot(
            np.exp(np.convolve(np.log(x), mean, 'valid')),
            np.convolve(y, mean, 'valid'),
            color=color,
            marker=marker,
            markevery=max(1, len(y) // 8),
            lw=3,
            ms=10,
            label=method,
        )
    axes.set_ylim(-3, 103)
    axes.set_xlabel(xlabel, fontsize=16)
    axes.set_ylabel(ylabel, fontsize=16)
    axes.tick_params(labelsize=14)
    axes.grid(axis='y', color='0.88')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    if named:
        _name_classes(axes, count[order], [class_names[c] for c in order])
    longest = max(len(method) for method in values)
    figure.legend(
        loc='outside lower center',
        ncols=max(1, min(len(values), int(WIDTH / (1.2 + 0.13 * longest)))),
        fontsize=14,
        frameon=False,
        title=None if named else 'line: mean over a sliding tenth of the classes',
        title_fontsize=13,
    )

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def plot_csv_files(files: Mapping[str, str | Path], path: str | Path) -> Path:
    """Draw what `LongTailIoUMetric` wrote as ``output_csv``.

    Args:
        files (Mapping[str, str | Path]): Method name to its file; all of the same classes.
        path (str | Path): As of :func:`plot_accuracy_against_frequency`.

    Returns:
        Path: The file written.
    """
    accuracies = {}
    for method, file in files.items():
        with open(file, newline='', encoding='utf-8') as stream:
            rows = list(csv.DictReader(stream))
        accuracies[method] = [float(row['acc'] or 'nan') for row in rows]
    counts = [int(row['count']) for row in rows]
    return plot_accuracy_against_frequency(counts, accuracies, [r['class'] for r in rows], path)


def _check(count: np.ndarray, values: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    if not values:
        raise ValueError('accuracies is empty: give at least one method with its C percentages.')
    for what, length in [
        ('class_names', len(class_names)),
        *((f'accuracies[{method!r}]', len(value)) for method, value in values.items()),
    ]:
        if length != len(count):
            raise ValueError(
                f'{what} has {length} entries but counts has {len(count)}: give one per class.'
            )
    if (count < 0).any() or not count.any():
        raise ValueError(
            f'counts go from {count.min():g} to {count.max():g}: '
            'give numbers of 0 or more, at least one above 0.'
        )
    for method, value in values.items():
        if np.isnan(value[count > 0]).all():
            raise ValueError(
                f'accuracies[{method!r}] has no number for any class with a count above 0: '
                'leave the method out.'
            )


def scale_of_counts(axes: Axes, count: np.ndarray) -> None:
    """Make the horizontal axis logarithmic, with a place for 0 where there is one.

    Args:
        axes (Axes): Changed in place.
        count (np.ndarray): What is drawn along it, (C,), at least one above 0.
    """
    rarest, commonest = count[count > 0].min(), count.max()
    margin = max((commonest / rarest) ** 0.03, 1.1)
    if (count > 0).all():
        axes.set_xscale('log')
        axes.set_xlim(rarest / margin, commonest * margin)
    else:
        # Linear up to a power of ten below every class that was seen, so that 0 has a place.
        linear = 10 ** np.floor(np.log10(rarest))
        axes.set_xscale('symlog', linthresh=linear, linscale=0.5)
        axes.set_xlim(-0.15 * linear, commonest * margin)


def _name_classes(axes: Axes, count: np.ndarray, names: Sequence[str]) -> None:
    """Write rising names above the axes, moved apart as little as keeps them from touching."""
    pixels = axes.transData.transform(np.stack([count, np.zeros_like(count)], axis=1))
    wanted = axes.transAxes.inverted().transform(pixels)[:, 0]
    gap = 1.3 * NAME_SIZE / 72 / (WIDTH - 1.2)
    offset = gap * np.arange(len(names))
    # Least squares under "each at least a gap right of the last" is an isotonic regression.
    place = offset + isotonic_regression(wanted - offset, y_min=0, y_max=max(0, 1 - offset[-1]))
    for x, where, name in zip(count, place, names, strict=True):
        axes.axvline(x, color='0.92', lw=0.8, zorder=0)
        axes.annotate(
            name,
            xy=(x, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(where, 1.05),
            textcoords='axes fraction',
            rotation=90,
            ha='center',
            va='bottom',
            fontsize=NAME_SIZE,
            arrowprops={
                'arrowstyle': '-',
                'color': '0.6',
                'lw': 0.8,
                'shrinkA': 0,
                'shrinkB': 0,
                'relpos': (0.5, 0),
            },
        )
