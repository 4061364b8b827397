"""docs/performance.md shows what the committed results say."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'tools' / 'benchmarks' / 'results'
PAGE = (ROOT / 'docs' / 'performance.md').read_text()


def loss_rows(rows):
    """A line a problem: sizes, seconds, ratios to the floor and to dense, MiB of both."""
    problems = {}
    for row in rows:
        problems.setdefault(tuple(row[key] for key in 'NKDC'), {})[row['method']] = row
    for sizes, found in problems.items():
        ours, dense, floor = (found[name] for name in ('ours', 'dense', 'floor'))
        cells = [
            *sizes,
            f'{ours["seconds"]:.3f}',
            f'{ours["seconds"] / floor["seconds"]:.2f}',
            f'{dense["seconds"] / ours["seconds"]:.2f}',
            f'{ours["extra_mib"]:.0f}',
            f'{dense["extra_mib"]:.0f}',
        ]
        yield '| ' + ' | '.join(map(str, cells)) + ' |'


def step_rows(rows):
    """A line a config: seconds, relative to the first, MiB, more than the first."""
    first = rows[0]
    for row in rows:
        yield (
            f'| `{row["config"]}` | {row["seconds"]:.3f} '
            f'| {100 * row["seconds"] / first["seconds"]:.0f} % '
            f'| {row["peak_mib"]:.0f} | {row["peak_mib"] - first["peak_mib"]:+.0f} |'
        )


@pytest.mark.parametrize(
    ('name', 'lines'),
    [
        ('gml_loss_cpu', loss_rows),
        ('train_step_flagship_cpu', step_rows),
        ('train_step_demo_cpu', step_rows),
    ],
)
def test_tables_are_those_of_the_results(name, lines):
    document = json.loads((RESULTS / f'{name}.json').read_text())
    shown = PAGE.splitlines()
    expected = list(lines(document['rows']))
    assert expected
    for line in expected:
        assert line in shown, line
    assert document['environment']['processor'] in PAGE
