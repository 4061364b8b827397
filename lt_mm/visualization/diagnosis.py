"""The report of a diagnosis: one HTML file that needs no other, for screens, phones and paper."""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lt_mm.visualization.per_class import COLORS, MARKERS, scale_of_counts

MAX_ROWS = 1000
"""Classes shown in the table of the page; more would make a browser slow."""
# Points: as wide as a phone, so that text there is as large as it was set.
WIDTH, HEIGHT, TEXT = 4.9, 3.4, 10.5
PICTURE = 220
WRONG, RIGHT = (216, 27, 140), (0, 158, 115)


def write_report(
    content: Mapping[str, Any], pictures: Mapping[tuple[int, int], str], path: str | Path
) -> Path:
    """Write the page.

    Args:
        content: of ``diagnosis.json``, see :func:`lt_mm.analysis.diagnosis.diagnose`; None is
            unknown.
        pictures: of some pairs (label, prediction), as :func:`draw_example` makes them.
        path: where to write.

    Returns:
        The file written.
    """
    loader = FileSystemLoader(Path(__file__).parent / 'templates')
    pages = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(percent=_percent, number=_number, short=_short)
    names = content['group_names']
    rows = _by_frequency(content)
    most = max(row['train']['count'] for row in rows)
    page = pages.get_template('diagnosis.html').render(
        content,
        rows=rows[:MAX_ROWS],
        left_out=max(0, len(rows) - MAX_ROWS),
        bar=lambda count: 100 * math.log1p(count) / math.log1p(most) if most else 0,
        colors={name: COLORS[i % len(COLORS)] for i, name in enumerate(names)} | {'': '#777777'},
        pictures=pictures,
        figures=_figures(content),
        shade=lambda share, color: _shade(share, color),
        model=content.get('model'),
    )
    path = Path(path)
    path.write_text(page, encoding='utf-8')
    return path


def draw_example(
    image: np.ndarray,
    labels: np.ndarray | None,
    prediction: np.ndarray | None,
    label: int,
    predicted: int,
) -> str:
    """A small picture of where a model takes one class for another.

    On grey, pixels of ``label`` that are predicted as ``predicted`` are magenta, those that are
    right are green. Shown is what surrounds the wrong ones.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W); None for an image of one class, which is shown as it is.
        prediction: (H, W); likewise.
        label: class that is labelled.
        predicted: class that is predicted.

    Returns:
        A ``data:`` address.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    if labels is not None:
        picture = picture.resize(labels.shape[::-1], Image.Resampling.BILINEAR)
        mine = labels == label
        wrong = mine & (prediction == predicted)
        # What is marked is seen better on grey.
        pixels = np.asarray(picture.convert('L').convert('RGB'), dtype=np.float64).copy()
        for mask, color, strength in (
            (mine & (prediction == label), RIGHT, 0.5),
            (wrong, WRONG, 0.6),
        ):
            pixels[mask] = (1 - strength) * pixels[mask] + strength * np.array(color)
        picture = Image.fromarray(pixels.round().astype(np.uint8)).crop(_surroundings(wrong))
    picture.thumbnail((PICTURE, PICTURE))
    if max(picture.size) < PICTURE:
        larger = PICTURE / max(picture.size)
        size = [max(1, round(side * larger)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    file = BytesIO()
    picture.save(file, 'JPEG', quality=82)
    return f'data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}'


def _surroundings(wrong: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a window around the pixels, a third of the image at least."""
    left, right = _span(np.flatnonzero(wrong.any(axis=0)), wrong.shape[1])
    top, bottom = _span(np.flatnonzero(wrong.any(axis=1)), wrong.shape[0])
    return left, top, right, bottom


def _span(places: np.ndarray, length: int) -> tuple[int, int]:
    if not len(places):
        return 0, length
    side = min(length, max(math.ceil(length / 3), int(1.6 * (places[-1] - places[0] + 1))))
    start = min(max(0, (places[0] + places[-1] + 1 - side) // 2), length - side)
    return int(start), int(start + side)


def draw_figures(content: Mapping[str, Any]) -> dict[str, Figure]:
    """The charts of the page.

    Args:
        content: as for :func:`write_report`.

    Returns:
        Names to charts; those of the model only where it was run.
    """
    rows = _by_frequency(content)
    model = content.get('model')
    figures = dict(frequencies=_frequencies(content, rows))
    if model:
        figures['accuracy'] = _accuracy(content, rows)
        figures['reliability'] = _reliability(content)
        for what in ('weight', 'feature'):
            values = [row['model'].get(f'{what}_norm') for row in rows]
            if any(value is not None for value in values):
                figures[f'{what}_norm'] = _norms(content, rows, values, what)
        if model.get('regions'):
            figures['regions'] = _regions(content)
    return figures


def _by_frequency(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(content['classes'], key=lambda row: (-row['train']['count'], row['index']))


def _figures(content: Mapping[str, Any]) -> dict[str, Markup]:
    figures = draw_figures(content)
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'lt_mm', 'font.size': TEXT}):
        return {name: _svg(figure) for name, figure in figures.items()}


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout='constrained')
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel, fontsize=TEXT)
    axes.set_ylabel(ylabel, fontsize=TEXT)
    axes.tick_params(labelsize=TEXT)
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _legend(axes: Axes, columns: int = 3) -> None:
    axes.legend(
        loc='lower left',
        bbox_to_anchor=(0, 1),
        ncols=columns,
        fontsize=TEXT,
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1.0,
        handletextpad=0.4,
    )


def _svg(figure: Figure) -> Markup:
    file = StringIO()
    figure.savefig(file, format='svg')
    text = file.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    text = re.sub(r' (width|height)="[\d.]+pt"', '', text, count=2)
    return Markup(text.replace('<svg ', '<svg role="img" ', 1))


def _frequencies(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Figure:
    figure, axes = _axes('classes, from frequent to rare', f'share of {content["unit"]}')
    ranks = np.arange(1, len(rows) + 1)
    for index, split in enumerate(('train', 'val')):
        counts = np.array([row.get(split, {}).get('count', 0) for row in rows], np.float64)
        if counts.sum() == 0:
            continue
        share = np.where(counts > 0, counts / counts.sum(), np.nan)
        name = dict(train='training set', val='validation set')[split]
        style = '-' if split == 'train' else ''
        axes.plot(
            ranks,
            share,
            color=COLORS[index],
            marker=MARKERS[index],
            ls=style,
            ms=3,
            lw=1,
            label=name,
        )
    axes.set_yscale('log')
    _legend(axes)
    return figure


def _accuracy(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Figure:
    second = 'iou' if content['task'] == 'segmentation' else 'precision'
    figure, axes = _axes(f'training {content["unit"]} of the class', 'percent')
    counts = np.array([row['train']['count'] for row in rows], np.float64)
    for index, what in enumerate((second, 'accuracy')):
        values = np.array([row['model'][what] for row in rows], np.float64) * 100
        known = ~np.isnan(values)
        label = dict(iou='IoU', precision='precision', accuracy='accuracy')[what]
        axes.plot(
            counts[known], values[known], color=COLORS[index], marker=MARKERS[index], ls='', ms=4,
            alpha=0.6, mew=0, label=label,
        )  # fmt: skip
        window = max(1, int(known.sum()) // 6)
        seen = known & (counts > 0)
        if seen.sum() > 10:
            mean = np.ones(window) / window
            axes.plot(
                np.exp(np.convolve(np.log(counts[seen]), mean, 'valid')),
                np.convolve(values[seen], mean, 'valid'),
                color=COLORS[index],
                lw=2,
                label=f'{label}, sliding mean',
            )
    if counts.any():
        scale_of_counts(axes, counts)
    axes.set_ylim(-3, 103)
    _legend(axes, 2)
    return figure


def _reliability(content: Mapping[str, Any]) -> Figure:
    figure, axes = _axes('confidence', 'accuracy')
    axes.plot([0, 1], [0, 1], color='0.5', ls='--', lw=1)
    for index, (name, group) in enumerate(content['model']['calibration']['groups'].items()):
        bins = group['bins']
        points = [
            (c, a)
            for c, a in zip(bins['confidence'], bins['accuracy'], strict=True)
            if c is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=COLORS[index], marker=MARKERS[index], ms=4, lw=1.5, label=name)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    _legend(axes)
    return figure


def _norms(
    content: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    values: Sequence[float | None],
    what: str,
) -> Figure:
    title = dict(weight='norm of the weight', feature='mean norm of the features')[what]
    figure, axes = _axes(f'training {content["unit"]} of the class', title)
    counts = np.array([row['train']['count'] for row in rows], np.float64)
    numbers = np.array(values, np.float64)
    for index, group in enumerate(content['group_names']):
        mine = np.array([row['group'] == group for row in rows]) & ~np.isnan(numbers)
        if mine.any():
            axes.plot(
                counts[mine], numbers[mine], color=COLORS[index], marker=MARKERS[index], ls='',
                ms=4, alpha=0.7, mew=0, label=group,
            )  # fmt: skip
    if counts.any():
        scale_of_counts(axes, counts)
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def _regions(content: Mapping[str, Any]) -> Figure:
    figure, axes = _axes('pixels of the region', 'regions found')
    for index, name in enumerate(content['group_names']):
        found = content['model']['regions'][name]['found']
        points = [(2 ** (k + 0.5), share) for k, share in enumerate(found) if share is not None]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=COLORS[index], marker=MARKERS[index], ms=4, lw=1.5, label=name)
    axes.set_xscale('log')
    axes.set_ylim(-0.03, 1.03)
    _legend(axes)
    return figure


def _shade(share: float | None, color: str) -> str:
    """A colour as a background, the stronger the larger the share; text on it stays black."""
    strength = 0 if share is None else 0.6 * min(1.0, share)
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return '#' + ''.join(f'{round(255 - strength * (255 - part)):02x}' for part in parts)


def _percent(value: float | None, digits: int = 1) -> str:
    return '–' if value is None else f'{100 * value:.{digits}f} %'


def _number(value: float | None, digits: int = 0) -> str:
    return '–' if value is None else f'{value:,.{digits}f}'


def _short(value: float | None) -> str:
    """A count in three digits: 12.3 M, with a space that does not break."""
    if value is None:
        return '–'
    for power, sign in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= power:
            return f'{value / power:.3g}\u00a0{sign}'
    return f'{value:g}'
