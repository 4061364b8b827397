"""The README shows what the committed results say, and its commands exist."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from lt_mm.benchmark.experiments import Result
from lt_mm.benchmark.methods import DIGIT_SCENES, DIGITS_LT
from lt_mm.benchmark.tables import INFERENCE_COSTS, summary_table
from lt_mm.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text()
MEASURED = (ROOT / 'docs' / 'measured.md').read_text()
RESULTS = [('digit_scenes.json', DIGIT_SCENES), ('digits_lt.json', DIGITS_LT)]


def squeeze(line):
    return re.sub(r'\s+', ' ', line).strip()


def rows_of(runs, labels, metrics, costs):
    console = Console(width=250, file=StringIO())
    console.print(summary_table([Result(**run) for run in runs], labels, metrics, costs))
    rows = [squeeze(line) for line in console.file.getvalue().splitlines() if '±' in line]
    assert len(rows) == len(labels)
    return rows


@pytest.mark.parametrize(('name', 'benchmark'), RESULTS)
def test_table_is_that_of_the_committed_results(name, benchmark):
    results = json.loads((ROOT / 'tools/benchmarks/results' / name).read_text())
    shown = [squeeze(line) for line in MEASURED.splitlines()]
    assert results['labels'] == benchmark.labels
    for row in rows_of(results['runs'], results['labels'], benchmark.metrics, costs={}):
        assert row in shown, row


@pytest.mark.parametrize(
    ('name', 'metrics', 'columns'),
    [
        ('digit_scenes.json', DIGIT_SCENES.metrics, ('mIoU', 'mAcc', 'tail IoU', 'tail Acc')),
        ('digits_lt.json', DIGITS_LT.metrics, ('all', 'few', 'ECE')),
    ],
)
def test_tables_of_experts_are_those_of_the_committed_results(name, metrics, columns):
    results = json.loads((ROOT / 'tools/benchmarks/results' / name).read_text())
    page = (ROOT / 'docs/methods/experts.md').read_text()
    shown = [squeeze(line) for line in page.splitlines()]
    chosen = {key: heading for key, heading in metrics.items() if heading in columns}
    rows = rows_of(results['expert_runs'], results['expert_labels'], chosen, INFERENCE_COSTS)
    for row in rows:
        assert row.replace('| absent |', '| |') in shown, row


@pytest.mark.parametrize('name', [name for name, _ in RESULTS])
def test_three_seeds_behind_every_row(name):
    results = json.loads((ROOT / 'tools/benchmarks/results' / name).read_text())
    for method in results['labels']:
        seeds = {run['seed'] for run in results['runs'] if run['method'] == method}
        assert len(seeds) >= 3, method


def cells_of(text, label, headings):
    """Of the row of a method, the cells below some headings of its table."""
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f'| {label} |'))
    top = max(i for i in range(place) if set(lines[i]) <= set('|- ')) - 1
    names, values = ([c.strip() for c in lines[i].split('|')[1:-1]] for i in (top, place))
    return [values[names.index(heading)] for heading in headings]


@pytest.mark.parametrize(
    ('row', 'scenes', 'digits'),
    [
        ('cross-entropy', 'cross-entropy', 'cross-entropy'),
        (
            'class weights',
            'class-weighted cross-entropy',
            'cross-entropy, effective numbers',
        ),
        ('balanced softmax', 'balanced softmax', 'balanced softmax'),
        ('GML', 'GML, α = 1', 'GML'),
        (
            'the same checkpoint, post-compensated',
            'post-compensated softmax',
            'post-compensated softmax',
        ),
    ],
)
def test_the_small_table_is_of_the_large_ones(row, scenes, digits):
    first, second = MEASURED.split('## Classification')
    expected = cells_of(first, scenes, ('mIoU', 'tail Acc'))
    expected += cells_of(second, digits, ('all', 'few'))
    headings = ('scenes: mIoU', 'tail Acc', 'digits: all', 'few')
    assert cells_of(README[README.index('| method | scenes') :], row, headings) == expected


# Results, and the sections of their tables.
PICTURES = {
    'freedoom_scenes.json': '## Pictures of a game',
    'fashion_mnist_lt.json': '## Photographs',
}


def cells_of_comparison(name):
    """Label and heading to what tables show, from what tools/compare.py wrote."""
    rows = json.loads((ROOT / 'tools/benchmarks/results' / name).read_text())['rows']
    assert all(row['seeds'] >= 3 for row in rows)
    return {
        (row['label'], row['heading']): f'{row["mean"]:.1f} ± {row["deviation"]:.1f}'
        for row in rows
    }


@pytest.mark.parametrize(('name', 'section'), PICTURES.items())
def test_tables_of_comparisons_are_those_of_the_committed_results(name, section):
    cells = cells_of_comparison(name)
    text = MEASURED[MEASURED.index(section) :]
    shown = text[text.index('| method |') :].partition('\n')[0].split(' | ')[1:]
    headings = [heading.rstrip(' |') for heading in shown]
    assert len(headings) >= 5
    for label in {label for label, _ in cells}:
        expected = [cells[label, heading] for heading in headings]
        assert cells_of(text, label, headings) == expected


@pytest.mark.parametrize(
    ('row', 'label'),
    [
        ('cross-entropy', 'cross-entropy'),
        ('class weights', 'class-weighted cross-entropy'),
        ('focal loss', 'focal loss'),
        ('logit-adjusted loss', 'logit-adjusted loss'),
        ('post-hoc logit adjustment', 'post-hoc logit adjustment'),
        ('GML', 'GML'),
    ],
)
def test_the_small_table_of_pictures_is_of_the_large_ones(row, label):
    game, garments = map(cells_of_comparison, PICTURES)
    expected = [game[label, heading] for heading in ('mIoU', 'tail Acc')]
    expected += [garments[label, heading] for heading in ('all', 'few')]
    headings = ('game: mIoU', 'tail Acc', 'garments: all', 'few')
    assert cells_of(README, row, headings) == expected


def test_every_component_of_the_list_is_registered():
    table = (ROOT / 'docs' / 'components.md').read_text()
    rows = table[table.index('| component |') :].splitlines()[2:]
    cells = [line.split('|')[1] for line in rows if line.startswith('|')]
    names = [name for cell in cells for name in re.findall(r'`(?:lt_mm\.)?(\w+)`', cell)]
    children = (DATASETS, DATA_SAMPLERS, HOOKS, METRICS, MODELS)
    assert len(names) > 40
    for name in names:
        assert any(f'lt_mm.{name}' in child for child in children), name


def test_files_and_targets_it_names_exist():
    for path in re.findall(
        r'(?<![/\w])(?:tools|configs|docs|lt_mm)/[\w./-]+\.(?:py|sh|md|png)', README
    ):
        assert (ROOT / path).is_file(), path
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.M)
    for target in re.findall(r'(?:^|`)make ([\w-]+)', README, re.M):
        assert target in targets, target
