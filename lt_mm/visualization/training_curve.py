"""A logged value over the iterations of training, one curve a run."""

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from lt_mm.visualization.per_class import COLORS, LINES


def read_curve(work_dir: str | Path, key: str) -> list[tuple[int, float]]:
    """What the logger wrote under ``key``, over all starts of a run that was resumed.

    Args:
        work_dir: of the run.
        key: of the log, such as 'loss' or 'decode.gml_temperature'.

    Returns:
        (iteration, value) by rising iteration; where a resumed run repeats one, the later value.

    Raises:
        FileNotFoundError: if there is no log in the folder.
        KeyError: if the log has no such key.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(
            f'{work_dir} has no */vis_data/scalars.json; give the work dir of a training run.'
        )
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    points = {row['step']: row[key] for row in rows if key in row}
    if not points:
        known = sorted({name for row in rows for name in row})
        raise KeyError(f'{key!r} is not in the log of {work_dir}; it has {", ".join(known)}.')
    return sorted(points.items())


def plot_training_curves(
    curves: Mapping[str, list[tuple[int, float]]], ylabel: str, path: str | Path
) -> Path:
    """Draw curves into one picture.

    Args:
        curves: name of each run to its (iteration, value) pairs.
        ylabel: what the value is.
        path: of the picture; folders are made.

    Returns:
        The file written.
    """
    figure = Figure(figsize=(9, 5.5), dpi=120, layout='constrained')
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(curves.items()):
        style = dict(color=COLORS[i % len(COLORS)], linestyle=LINES[i % len(LINES)])
        axes.plot(*zip(*points, strict=True), label=name, linewidth=2.5, **style)
    axes.set_xlabel('iteration', fontsize=16)
    axes.set_ylabel(ylabel, fontsize=16)
    axes.tick_params(labelsize=13)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=13)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
