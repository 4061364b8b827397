"""The table that a comparison of runs is shown as."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from rich import box
from rich.table import Table

from lt_mm.benchmark.experiments import Result

INFERENCE_COSTS = dict(parameters=('parameters', ',.0f'), mflops=('MFLOPs', '.1f'))
"""What :func:`lt_mm.benchmark.expert_results.add_costs` adds, as ``costs`` of a table."""


def summary_table(
    results: Sequence[Result],
    labels: Mapping[str, str],
    metrics: Mapping[str, str],
    costs: Mapping[str, tuple[str, str]],
) -> Table:
    """One row a method: mean, and standard deviation over seeds where there are several.

    Args:
        results: of all runs.
        labels: method to its name in the table, in the order of the rows.
        metrics: keys of :attr:`Result.metrics` to their headings.
        costs: fields of :class:`Result`, averaged without a deviation, to heading and format.
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
