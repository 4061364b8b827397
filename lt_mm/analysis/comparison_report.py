"""A comparison of methods as Markdown, CSV, JSON and one HTML page."""

import base64
import csv
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mmengine.config import Config
from mmengine.device import get_device
from rich.console import Console
from rich.table import Table

from lt_mm.analysis.comparison import CHOSEN_BY, HELD_OUT_SHARE, Comparison
from lt_mm.analysis.variants import SEGMENTATION, VARIANTS
from lt_mm.benchmark.measurement import describe_environment
from lt_mm.benchmark.methods import CLASSIFICATION_METRICS, SEGMENTATION_METRICS
from lt_mm.benchmark.pictures import draw_predictions
from lt_mm.benchmark.tables import difference_table, paired_differences, summary_table
from lt_mm.structures import ClassCounts
from lt_mm.visualization.comparison import plot_comparison
from lt_mm.visualization.per_class import plot_csv_files

_COSTS = dict(seconds=('seconds', '.0f'), peak_memory_mib=('peak MiB', '.0f'))
_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'lt_mm')
_TEMPLATES = Path(__file__).parents[1] / 'visualization' / 'templates'
# More columns of predictions nobody can look at, nor tell more lines apart.
_MOST_PICTURED = 4


def write_report(comparison: Comparison, command: str = '') -> list[Path]:
    """Write all that there is to say of a comparison that has run, into its folder.

    Args:
        comparison: with results.
        command: line that it was started by, for readers.

    Returns:
        list[Path]: The files: comparison.html, .md, .csv and .json, and pictures.

    Raises:
        ValueError: if it has no result.
    """
    if not comparison.results:
        raise ValueError('no run has come to a result, so there is nothing to report.')
    folder = comparison.folder
    protocol = dict(protocol_of(comparison), **({'command': command} if command else {}))
    rows = summary_rows(comparison)
    pictures = _draw(comparison)
    markdown = markdown_text(comparison, protocol)
    (folder / 'comparison.md').write_text(markdown)
    _write_csv(folder / 'comparison.csv', rows)
    content = dict(
        protocol=protocol,
        environment=describe_environment(),
        labels=comparison.labels,
        rows=rows,
        runs=[asdict(result) for result in comparison.results],
        trials=[trial._asdict() for trial in comparison.tried],
        failures=comparison.failures,
        changes=comparison.diffs,
    )
    (folder / 'comparison.json').write_text(json.dumps(_finite(content), indent=1) + '\n')
    page = _page(comparison, protocol, pictures)
    (folder / 'comparison.html').write_text(page)
    names = [f'comparison.{ending}' for ending in ('html', 'md', 'csv', 'json')]
    return [*(folder / name for name in names), *pictures.values()]


def metrics_of(comparison: Comparison) -> dict[str, str]:
    """Keys of the evaluation to their headings: those of the task that some run has."""
    segmentation = comparison.task == SEGMENTATION
    wanted = SEGMENTATION_METRICS if segmentation else CLASSIFICATION_METRICS
    macro = {} if segmentation else {'accuracy/macro': 'mean of classes'}
    return {
        key: heading
        for key, heading in {**wanted, **macro}.items()
        if any(not math.isnan(r.metrics.get(key, math.nan)) for r in comparison.results)
    }


def tables(comparison: Comparison) -> tuple[Table, Table | None]:
    """Figures and costs of the methods, and their paired differences to the first one."""
    labels, metrics = comparison.labels, metrics_of(comparison)
    figures = summary_table(comparison.results, labels, metrics, _COSTS)
    if len(labels) < 2:
        return figures, None
    return figures, difference_table(comparison.results, labels, metrics)


def protocol_of(comparison: Comparison) -> dict[str, str]:
    """What the figures were got by."""
    loop = comparison.config.train_cfg
    budget = f'{comparison.budget} iterations, schedules scaled, evaluated at the end'
    if comparison.budget is None:
        length = loop.get('max_iters') or loop.get('max_epochs')
        unit = 'iterations' if loop.get('max_iters') else 'epochs'
        budget = f'{length} {unit}, as the config has them'
    reported = 'val_dataloader of the config, last evaluation of each run'
    held_out = 'none spent: every method has its default'
    if comparison.trials:
        held_out = (
            f'{comparison.trials} for each method, of its one hyper-parameter, trained with seed '
            f'{comparison.seeds[0]} '
        )
        metric = CHOSEN_BY[comparison.task]
        if comparison.tuning:
            settings = ', '.join(f'{key}={value}' for key, value in comparison.tuning.items())
            held_out += f'and chosen by {metric} on a split that is not reported: {settings}'
        else:
            held_out += (
                f'on {1 - HELD_OUT_SHARE:.0%} of the training set and chosen by {metric} on the '
                f'other {HELD_OUT_SHARE:.0%}, which is not the split reported; then trained on the '
                'whole of it'
            )
    return {
        'config': comparison.config.filename or '',
        'budget of a run': budget,
        'seeds': ', '.join(map(str, comparison.seeds)),
        'split reported': reported,
        'trials': held_out,
        'runs at a time': str(comparison.jobs),
        'device': get_device(),
        'versions': ', '.join(f'{name} {number}' for name, number in _versions().items()),
    }


def summary_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a method and figure: mean, deviation, and those of its differences to the first."""
    results, rows = comparison.results, []
    first = next(iter(comparison.labels))
    for method, label in comparison.labels.items():
        for key, heading in metrics_of(comparison).items():
            values = [r.metrics.get(key, math.nan) for r in results if r.method == method]
            differences = paired_differences(results, method, first, key)
            rows.append(
                dict(
                    method=method,
                    label=label,
                    metric=key,
                    heading=heading,
                    seeds=len(values),
                    mean=mean(values),
                    deviation=_deviation(values),
                    difference=mean(differences) if differences else math.nan,
                    difference_deviation=_deviation(differences),
                )
            )
    return rows


def markdown_text(comparison: Comparison, protocol: Mapping[str, str]) -> str:
    """Protocol, tables, trials, notes and what failed."""
    figures, differences = tables(comparison)
    parts = ['# Comparison of methods', *(f'- {key}: {value}' for key, value in protocol.items())]
    parts += ['', _text(figures)]
    if differences is not None:
        parts += ['Paired differences, seed by seed:', '', _text(differences)]
    chosen = {name: value for name, value in comparison.chosen.items() if value is not None}
    if chosen:
        parts += ['Chosen by trials:', '']
        for name, value in chosen.items():
            tried = [t for t in comparison.tried if t.method == name]
            scores = ', '.join(f'{t.value:g}: {t.score:.2f}' for t in tried)
            parts.append(f'- {name}: {VARIANTS[name].tuned} = {value:g} (of {scores})')
        parts.append('')
    notes = _notes(comparison)
    if notes:
        parts += ['Notes:', '', *(f'- {note}' for note in notes), '']
    if comparison.failures:
        parts += ['Without a result:', '']
        parts += [f'- {name}: {reason}' for name, reason in comparison.failures.items()]
        parts.append('')
    return '\n'.join(parts)


def _notes(comparison: Comparison) -> list[str]:
    notes = [
        f'{VARIANTS[name].label}: {VARIANTS[name].note}'
        for name in comparison.labels
        if VARIANTS[name].note
    ]
    notes += [f'{one} is {other}, by its config' for one, other in comparison.twins.items()]
    if len(comparison.seeds) == 1:
        notes.append('one seed alone: differences may be chance')
    return notes


def _draw(comparison: Comparison) -> dict[str, Path]:
    """Pictures by what they show; one that cannot be drawn is said and left out."""
    folder, results, labels = comparison.folder, comparison.results, comparison.labels
    metrics = list(metrics_of(comparison).items())
    groups = [item for item in metrics if not item[0].endswith('Acc')][:5]
    figures = {
        heading: {
            label: [r.metrics.get(key, math.nan) for r in results if r.method == name]
            for name, label in labels.items()
        }
        for key, heading in groups
    }
    seed = min(result.seed for result in results)
    first = [(labels[r.method], comparison.runs[r.method, seed]) for r in results if r.seed == seed]
    pictured = dict(first[:_MOST_PICTURED])
    drawings = {'Figures': lambda path: plot_comparison(figures, path)}
    if comparison.task == SEGMENTATION:
        files = {label: run.work_dir / 'per_class.csv' for label, run in pictured.items()}
        drawings['Classes'] = lambda path: plot_csv_files(files, path)
        drawings['Predictions'] = lambda path: draw_predictions(
            {
                label: (run.method.load(), (run.needs or run).checkpoint)
                for label, run in pictured.items()
            },
            ClassCounts.load(folder / 'class_counts.json'),
            path,
            device=get_device(),
        )
    pictures = {}
    for title, draw in drawings.items():
        try:
            pictures[title] = draw(folder / f'comparison_{title.lower()}.png')
        except Exception as error:
            # Tables are worth more than a picture of images of a kind nobody thought of.
            comparison.say(f'no picture of {title.lower()}: {type(error).__name__}: {error}')
    return pictures


def _page(comparison: Comparison, protocol: Mapping[str, str], pictures: Mapping[str, Path]) -> str:
    figures, differences = tables(comparison)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('comparison.html').render(
        protocol=protocol,
        tables=[_cells(table) for table in (figures, differences) if table is not None],
        pictures={
            title: base64.b64encode(path.read_bytes()).decode() for title, path in pictures.items()
        },
        trials=comparison.tried,
        chosen=comparison.chosen,
        notes=_notes(comparison),
        failures=comparison.failures,
        changes={
            VARIANTS[name].label if name in VARIANTS else 'all methods': lines
            for name, lines in comparison.diffs.items()
        },
    )


def _cells(table: Table) -> list[list[str]]:
    """Headings and rows of a table."""
    columns = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _text(table: Table) -> str:
    """A table as Markdown."""
    console = Console(file=io.StringIO(), width=400, markup=False, emoji=False, highlight=False)
    console.print(table)
    lines = console.file.getvalue().splitlines()
    return '\n'.join(line.strip() for line in lines if line.strip()) + '\n'


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in _finite(rows):
            writer.writerow({key: '' if value is None else value for key, value in row.items()})


def _deviation(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else math.nan


def _finite(value: Any) -> Any:
    """What JSON can hold: NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, os.PathLike | Config) else value


def _versions() -> dict[str, str]:
    """Of the modules: forks are distributed by other names."""
    return {
        name: str(import_module(name).__version__)
        for name in _PACKAGES
        if find_spec(name) is not None
    }
