"""The tables that a comparison of runs is shown as."""

import math
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


def paired_differences(
    results: Sequence[Result], method: str, reference: str, metric: str
) -> list[float]:
    """What a method has more than another, for each seed that both have.

    Args:
        results: of all runs.
        method: whose figures count.
        reference: whose figures are taken off.
        metric: key of :attr:`Result.metrics`.
    """
    of = {
        name: {r.seed: r.metrics.get(metric) for r in results if r.method == name}
        for name in (method, reference)
    }
    pairs = [(own, of[reference].get(seed)) for seed, own in of[method].items()]
    return [own - other for own, other in pairs if not {own, other} & {None}]


def difference_table(
    results: Sequence[Result], labels: Mapping[str, str], metrics: Mapping[str, str]
) -> Table:
    """One row a method but the first: mean and deviation of its paired differences to that.

    Args:
        results: of all runs.
        labels: method to its name in the table; the first is what is compared with.
        metrics: keys of :attr:`Result.metrics` to their headings.
    """
    reference, *others = labels
    table = Table(f'minus {labels[reference]}', box=box.MARKDOWN)
    for heading in metrics.values():
        table.add_column(heading, justify='right')
    for method in others:
        differences = [paired_differences(results, method, reference, key) for key in metrics]
        table.add_row(labels[method], *(_cell(values, '+') for values in differences))
    return table


def _cell(values: Sequence[float | None], sign: str = '') -> str:
    if not values or None in values:
        return 'absent'
    if any(map(math.isnan, values)):
        # The group has no class.
        return '–'
    if len(values) == 1:
        return f'{values[0]:{sign}.1f}'
    return f'{mean(values):{sign}.1f} ± {stdev(values):.1f}'
