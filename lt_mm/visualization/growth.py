"""How time and memory of a computation grow with each of its sizes, one series per method."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from lt_mm.visualization.per_class import COLORS, LINES, MARKERS

QUANTITIES = {'seconds': 'seconds', 'extra_mib': 'extra memory (MiB)'}


def plot_growth(
    rows: Sequence[Mapping], base: Mapping[str, int], labels: Mapping[str, str], path: str | Path
) -> Path:
    """Draw one column of panels for each size that varies while the others stay at ``base``.

    Args:
        rows: measurements with ``method``, ``seconds``, ``extra_mib`` and every key of ``base``.
        base: the sizes that the others are compared with.
        labels: key of each size to what its axis says.
        path: of the picture; folders are made.

    Returns:
        The file written.
    """
    methods = list(dict.fromkeys(row['method'] for row in rows))
    figure = Figure(figsize=(4 * len(base), 8), dpi=120, layout='constrained')
    panels = figure.subplots(len(QUANTITIES), len(base), sharey='row', squeeze=False)
    for column, size in enumerate(base):
        others = [key for key in base if key != size]
        varied = [row for row in rows if all(row[key] == base[key] for key in others)]
        for line, (quantity, label) in enumerate(QUANTITIES.items()):
            axes = panels[line][column]
            for i, method in enumerate(methods):
                points = sorted(
                    (row[size], row[quantity]) for row in varied if row['method'] == method
                )
                style = dict(color=COLORS[i], marker=MARKERS[i], linestyle=LINES[i], label=method)
                axes.plot(*zip(*points, strict=True), **style, linewidth=2, markersize=8)
            axes.set_xscale('log', base=2)
            axes.set_yscale('log')
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=12)
            axes.set_xlabel(labels[size], fontsize=15)
            if column == 0:
                axes.set_ylabel(label, fontsize=15)
    panels[0][0].legend(fontsize=13)
    fixed = ', '.join(f'{key} = {value}' for key, value in base.items())
    figure.suptitle(f'One size varied at a time around {fixed}', fontsize=15)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
