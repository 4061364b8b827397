"""The demo's table and per-class picture from results and CSV files."""

import math

from rich.console import Console

from lt_mm.engine.experiments import Result
from lt_mm.visualization import demo_report


def render(table):
    console = Console(width=250, record=True, file=open('/dev/null', 'w'))
    console.print(table)
    return console.export_text()


def result(method, seed, value, **changes):
    metrics = {name: value for name in demo_report.COLUMNS}
    return Result(method, seed, {**metrics, **changes}, 0.1 * (seed + 1), 800.0)


def test_mean_and_standard_deviation_over_seeds():
    results = [result('ce', 0, 10.0), result('ce', 1, 20.0), result('ce', 2, 60.0)]
    text = render(demo_report.summary_table(results, {'ce': 'cross-entropy'}))
    deviation = math.sqrt((20**2 + 10**2 + 30**2) / 2)
    assert f'30.0 ± {deviation:.1f}' in text
    assert '| cross-entropy |' in text and ' 0.200 |' in text


def test_one_seed_has_no_deviation_and_an_absent_group_says_so():
    results = [result('ce', 0, 10.0, tail_IoU=None)]
    text = render(demo_report.summary_table(results, {'ce': 'cross-entropy'}))
    assert '±' not in text and 'absent' in text


def test_per_class_picture_takes_unknown_accuracies(tmp_path):
    header = 'class,group,count,iou,acc,label_pixels,pred_pixels\n'
    (tmp_path / 'a.csv').write_text(header + 'sky,head,90,50,60,1,1\nsign,tail,3,,,0,0\n')
    path = demo_report.draw_per_class({'ce': tmp_path / 'a.csv'}, tmp_path / 'picture.png')
    assert path.stat().st_size > 10000
