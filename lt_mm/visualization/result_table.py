"""The table that a comparison of runs is shown as."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from rich import box
from rich.table import Table

from lt_mm.benchmark.experiments import Result

SEGMENTATION = {
    'mIoU': 'mIoU', 'mAcc': 'mAcc',
    'head_IoU': 'head IoU', 'body_IoU': 'body IoU', 'tail_IoU': 'tail IoU',
    'head_Acc': 'head Acc', 'body_Acc': 'body Acc', 'tail_Acc': 'tail Acc',
}  # fmt: skip
"""Metrics of :class:`LongTailIoUMetric` and their headings."""
CLASSIFICATION = {
    f'accuracy/{name}': heading
    for name, heading in (('top1', 'all'), ('many', 'many'), ('medium', 'medium'), ('few', 'few'))
} | {'calibration/ECE': 'ECE'}
"""Metrics of :class:`LongTailAccuracy` and :class:`CalibrationError`, and their headings."""
COSTS = dict(seconds_per_iteration=('s/iter', '.3f'), peak_memory_mib=('peak MiB', '.0f'))
"""Fields of a result that are averaged without a deviation: heading and format."""
INFERENCE_COSTS = dict(parameters=('parameters', ',.0f'), mflops=('MFLOPs', '.1f'))
"""The same, for what :func:`lt_mm.benchmark.expert_results.add_costs` adds."""


def summary_table(
    results: Sequence[Result],
    labels: Mapping[str, str],
    metrics: Mapping[str, str] = SEGMENTATION,
    costs: Mapping[str, tuple[str, str]] = COSTS,
) -> Table:
    """One row a method: mean, and standard deviation over seeds where there are several.

    Args:
        results: of all runs.
        labels: method to its name in the table, in the order of the rows.
        metrics: keys of :attr:`Result.metrics` to their headings.
        costs: further fields of :class:`Result` to heading and format.
    """
    table = Table('method', box=box.MARKDOWN)
    for heading in (*metrics.values(), *(heading for heading, _ in costs.values())):
        table.add_column(heading, justify='right')
    for method, label in labels.items():
        runs = [result for result in results if result.method == method]
        cells = [_cell([run.metrics.get(metric) for run in runs]) for metric in metrics]
        for field, (_, form) in costs.items():
            cells.append(f'{mean(getattr(run, field) for run in runs):{form}}')
        table.add_row(label, *cells)
    return table


def _cell(values: Sequence[float | None]) -> str:
    if None in values:
        return 'absent'
    if len(values) == 1:
        return f'{values[0]:.1f}'
    return f'{mean(values):.1f} ± {stdev(values):.1f}'
