"""The table of a comparison, from results."""

import math

from rich.console import Console

from lt_mm.benchmark.experiments import Result
from lt_mm.benchmark.methods import DIGIT_SCENES
from lt_mm.benchmark.tables import summary_table

METRICS, COSTS = DIGIT_SCENES.metrics, DIGIT_SCENES.costs


def render(table):
    console = Console(width=250, record=True, file=open('/dev/null', 'w'))
    console.print(table)
    return console.export_text()


def result(method, seed, value, **changes):
    metrics = {name: value for name in METRICS}
    return Result(method, seed, {**metrics, **changes}, 0.1 * (seed + 1), 800.0)


def test_mean_and_standard_deviation_over_seeds():
    results = [result('ce', 0, 10.0), result('ce', 1, 20.0), result('ce', 2, 60.0)]
    text = render(summary_table(results, {'ce': 'cross-entropy'}, METRICS, COSTS))
    deviation = math.sqrt((20**2 + 10**2 + 30**2) / 2)
    assert f'30.0 ± {deviation:.1f}' in text
    assert '| cross-entropy |' in text and ' 0.200 |' in text


def test_one_seed_has_no_deviation_and_an_absent_group_says_so():
    results = [result('ce', 0, 10.0, tail_IoU=None)]
    text = render(summary_table(results, {'ce': 'cross-entropy'}, METRICS, COSTS))
    assert '±' not in text and 'absent' in text


def test_other_metrics_and_costs_get_their_headings():
    runs = [Result('ce', 0, {'accuracy/top1': 81.25}, 0.1, 800.0, 12.3)]
    text = render(
        summary_table(
            runs, {'ce': 'CE'}, {'accuracy/top1': 'all'}, dict(seconds=('seconds', '.0f'))
        )
    )
    assert ' all |' in text and ' seconds |' in text
    assert '81.2' in text and '12 |' in text
