"""Reliability diagrams: the accuracy of predictions against how sure the model was of them.

Source: Guo et al., ICML 2017; for long-tailed recognition Zhong et al., CVPR 2021 (MiSLAS), Figs. 9
to 12: a panel a model, 15 bins.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

ACCURACY = '#A6CEE8'
GAPS = dict(over='#D55E00', under='#00573F')
PANEL = 4.4
MOST_IN_A_ROW = 5


def read_calibration(path: str | Path) -> dict[str, Any]:
    """Read what `lt_mm.evaluation.CalibrationError` wrote as ``output_json``.

    Args:
        path (str | Path): The file.

    Returns:
        dict[str, Any]: Its content: 'unit', 'number', 'metrics' and 'bins'.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not one that the metric wrote.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} does not exist: have lt_mm.CalibrationError write it, by output_json.'
        )
    try:
        content = json.loads(path.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {'unit', 'metrics', 'bins'} <= content.keys():
        raise ValueError(
            f'{path} holds no calibration bins: give a file that output_json of '
            'lt_mm.CalibrationError named.'
        )
    return content


def plot_reliability(calibrations: Mapping[str, Mapping[str, Any]], path: str | Path) -> Path:
    """Draw a reliability diagram of each model, side by side, five in a row at most.

    The upper part shows the accuracy of each bin and, hatched, what confidence is more (over-) or
    less (under-confident) than it; where the bars reach the diagonal, a model is calibrated. The
    lower part shows the share of the elements in each bin, with lines at the mean confidence and at
    the accuracy. A bin without elements has no bar. In the title are ECE and MCE.

    Args:
        calibrations (Mapping[str, Mapping[str, Any]]): Name of each model to what
            `read_calibration` returns.
        path (str | Path): Where to write; the ending chooses the format, folders are made.

    Returns:
        Path: The file written.

    Raises:
        ValueError: If there is no model.
    """
    if not calibrations:
        raise ValueError('calibrations is empty: give at least one model with its bins.')
    columns = min(len(calibrations), MOST_IN_A_ROW)
    rows = -(-len(calibrations) // columns)
    figure = Figure(
        figsize=(max(PANEL * columns + 0.4, 6.4), rows * (PANEL + 2.6) + 0.6),
        dpi=110,
        layout='constrained',
    )
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    grid = figure.subplots(
        2 * rows, columns, squeeze=False, gridspec_kw=dict(height_ratios=[3, 1] * rows)
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for index, (name, content) in enumerate(calibrations.items()):
        row, column = divmod(index, columns)
        pair = grid[2 * row, column], grid[2 * row + 1, column]
        _draw_bins(pair[0], name, content)
        _draw_shares(pair[1], content)
        for axes in pair:
            axes.set_visible(True)
            axes.set_xlim(0, 1)
            axes.tick_params(labelsize=13)
            axes.set_axisbelow(True)
            axes.grid(axis='y', color='0.88')
        pair[0].tick_params(labelbottom=False)
        pair[1].set_xlabel('confidence', fontsize=15)
        if column == 0:
            pair[0].set_ylabel('accuracy', fontsize=15)
            pair[1].set_ylabel(f'share of\n{content["unit"]}', fontsize=15)
    handles = [Patch(facecolor=ACCURACY, edgecolor='black', label='accuracy')]
    for kind, color in GAPS.items():
        label = f'gap, {kind}-confident'
        handles.append(Patch(facecolor='none', edgecolor=color, hatch='///', label=label))
    figure.legend(
        handles=handles,
        loc='outside lower center',
        ncols=3 if columns > 1 else 1,
        fontsize=14,
        frameon=False,
    )

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _draw_bins(axes: Axes, name: str, content: Mapping[str, Any]) -> None:
    left, width, filled = _edges(content)
    confidence = np.array([each['confidence'] for each in filled])
    accuracy = np.array([each['accuracy'] for each in filled])
    axes.bar(left, accuracy, width, align='edge', color=ACCURACY, edgecolor='black', lw=0.8)
    over = confidence >= accuracy
    for kind, chosen in dict(over=over, under=~over).items():
        axes.bar(
            left[chosen],
            abs(confidence - accuracy)[chosen],
            width[chosen],
            bottom=np.minimum(confidence, accuracy)[chosen],
            align='edge',
            color='none',
            edgecolor=GAPS[kind],
            hatch='///',
            lw=1.2,
        )
    axes.plot([0, 1], [0, 1], color='0.35', ls='--', lw=1.5)
    axes.set_ylim(0, 1)
    metrics = content['metrics']
    figures = f'ECE {metrics["ECE"]:.1f} %, MCE {metrics["MCE"]:.1f} %'
    axes.set_title(f'{name}\n{figures}', fontsize=15)


def _draw_shares(axes: Axes, content: Mapping[str, Any]) -> None:
    left, width, filled = _edges(content)
    counts = np.array([each['count'] for each in filled])
    axes.bar(left, counts / counts.sum(), width, align='edge', color='0.7', edgecolor='0.3', lw=0.8)
    axes.set_ylim(0, 1)
    metrics = content['metrics']
    lines = dict(confidence=('black', '-'), accuracy=('#0072B2', '--'))
    for what, (color, style) in lines.items():
        value = metrics[what] / 100
        axes.axvline(value, color=color, ls=style, lw=2, label=f'{what} {value:.2f}')
    axes.legend(
        loc='lower center',
        bbox_to_anchor=(0.5, 0.97),
        ncols=2,
        fontsize=12,
        frameon=False,
        columnspacing=1.2,
        handlelength=1.6,
    )


def _edges(content: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, list[Mapping]]:
    """Left edges, widths and contents of the bins that are not empty."""
    filled = [each for each in content['bins'] if each['count']]
    left = np.array([each['from'] for each in filled])
    return left, np.array([each['to'] for each in filled]) - left, filled
