"""The README shows what the committed results say, and its commands exist."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from lt_mm.engine.experiments import Result
from lt_mm.visualization.result_table import CLASSIFICATION, SEGMENTATION, summary_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text()
RESULTS = [('digit_scenes.json', SEGMENTATION), ('digits_lt.json', CLASSIFICATION)]


def squeeze(line):
    return re.sub(r'\s+', ' ', line).strip()


@pytest.mark.parametrize(('name', 'metrics'), RESULTS)
def test_table_is_that_of_the_committed_results(name, metrics):
    results = json.loads((ROOT / 'tools/benchmarks/results' / name).read_text())
    runs = [Result(**run) for run in results['runs']]
    console = Console(width=250, file=StringIO())
    console.print(summary_table(runs, results['labels'], metrics, costs={}))
    rows = [squeeze(line) for line in console.file.getvalue().splitlines() if '±' in line]
    shown = [squeeze(line) for line in README.splitlines()]
    assert len(rows) == len(results['labels'])
    for row in rows:
        assert row in shown, row


@pytest.mark.parametrize('name', [name for name, _ in RESULTS])
def test_three_seeds_behind_every_row(name):
    results = json.loads((ROOT / 'tools/benchmarks/results' / name).read_text())
    for method in results['labels']:
        seeds = {run['seed'] for run in results['runs'] if run['method'] == method}
        assert len(seeds) >= 3, method


def test_files_and_targets_it_names_exist():
    for path in re.findall(
        r'(?<![/\w])(?:tools|configs|docs|lt_mm)/[\w./-]+\.(?:py|sh|md|png)', README
    ):
        assert (ROOT / path).is_file(), path
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.M)
    for target in re.findall(r'(?:^|`)make ([\w-]+)', README, re.M):
        assert target in targets, target
    for name in re.findall(r'`([\w-]+_ade20k[\w-]*\.py)`', README):
        assert (ROOT / 'configs' / name).is_file(), name
