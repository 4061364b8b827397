"""Sweep the strength of logit adjustment of a trained model, in one pass over the validation set.

Works for any segmentor of mmsegmentation and any classifier of mmpretrain, trained with lt_mm or
not. The alpha is chosen on one half of the images and reported on the other.
"""

import argparse
import csv
import json
import math
from pathlib import Path

from mmengine.config import Config
from rich import box
from rich.console import Console
from rich.table import Table

from lt_mm.analysis.alpha_sweep import alpha_offsets
from lt_mm.analysis.sweep_run import SweepResult, SweepSettings, sweep
from lt_mm.checkpoints import read_checkpoint
from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.launch import add_config_arguments, check_writable, load_config, stop
from lt_mm.export.exported_model import export_model
from lt_mm.visualization.alpha_sweep import plot_alpha_sweep
from lt_mm.visualization.backends import add_to_backends

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth file, or the address of one')
    parser.add_argument(
        '--alphas',
        nargs=3,
        type=float,
        default=(0.0, 2.0, 0.1),
        metavar=('FIRST', 'LAST', 'STEP'),
        help='strengths to try, with that of the training; default: 0 2 0.1',
    )
    parser.add_argument(
        '--trained-alpha',
        type=float,
        metavar='ALPHA',
        help='strength that the model was trained with; default: read from its losses',
    )
    parser.add_argument(
        '--class-counts',
        metavar='NAME',
        help='of the training set, or the path of a JSON file; default: those of the checkpoint, '
        'else the training set of the config is counted',
    )
    parser.add_argument(
        '--choose-by',
        metavar='FIGURE',
        help='what the alpha is chosen by, such as tail_IoU or few; default: mIoU or macro',
    )
    parser.add_argument(
        '--target-prior',
        metavar='NAME',
        help='class counts in the proportions to predict for: a name or a path',
    )
    parser.add_argument(
        '--fit-offsets',
        action='store_true',
        help='fit an offset for each class to the half that chooses; a second pass over the other',
    )
    parser.add_argument(
        '--strength',
        type=float,
        default=0.01,
        metavar='S',
        help='of the regularisation of --fit-offsets towards the chosen alpha; default: 0.01',
    )
    parser.add_argument(
        '--any-order',
        action='store_true',
        help='let --fit-offsets add less to a rarer class than to a more frequent one',
    )
    parser.add_argument(
        '--em',
        action='store_true',
        help='estimate the prior of the half that reports by EM, without its labels; a second pass',
    )
    parser.add_argument(
        '--fold',
        type=float,
        metavar='ALPHA',
        help='write the model with that alpha in the bias of its classifier, for plain mm packages',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the halves; default: 0')
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='default: WORK_DIR of the config/alpha_sweep'
    )
    return parser.parse_args()


def main() -> None:
    """Sweep, print, draw, write."""
    args = parse_args()
    config = load_config(args, ROOT)
    original = config.copy()
    if '://' not in args.checkpoint and not Path(args.checkpoint).is_file():
        stop(f'Checkpoint {args.checkpoint} does not exist: give the path of a .pth file.')
    alphas = strengths(*args.alphas)
    out = args.out or Path(config.work_dir, 'alpha_sweep')
    try:
        check_dataset_paths(config, ('val_dataloader',))
        check_writable(out, '--out', ('alphas.csv',))
    except OSError as error:
        stop(str(error))
    config.work_dir = str(out)
    settings = SweepSettings(
        alphas=alphas,
        trained_alpha=args.trained_alpha,
        class_counts=args.class_counts,
        target_prior=args.target_prior,
        fit_offsets=args.fit_offsets,
        strength=args.strength,
        monotone=not args.any_order,
        estimate_prior=args.em,
        choose_by=args.choose_by,
        seed=args.seed,
    )
    try:
        result = sweep(config, args.checkpoint, settings)
    except (ValueError, FileNotFoundError) as error:
        stop(f'Cannot sweep {args.config} with {args.checkpoint}: {error}')
    picture = write(result, alphas, out)
    add_to_backends(original, dict(alpha_sweep=picture), out)
    Console(width=160).print(alpha_table(result))
    Console(width=160).print(gain_table(result))
    for line in explanation(result):
        print(line)
    if args.fold is not None:
        fold(original, args.checkpoint, args.fold, result, out)


def strengths(first: float, last: float, step: float) -> tuple[float, ...]:
    """Alphas from first to last, in steps."""
    if not step > 0 or not first <= last or (last - first) / step > 1000:
        stop(
            f'--alphas {first:g} {last:g} {step:g} are no rising strengths: give FIRST, a LAST '
            'that is not smaller, and a positive STEP that makes no more than 1000 of them.'
        )
    number = round((last - first) / step)
    return tuple(round(first + i * step, 10) for i in range(number + 1))


def alpha_table(result: SweepResult) -> Table:
    """A row an alpha, of all images."""
    table = Table('alpha', box=box.MARKDOWN, title=f'all {sum(result.images)} images, %')
    for name in result.whole:
        table.add_column(name, justify='right')
    for row, label in enumerate(result.rows):
        marks = [' (as trained)'] if label == f'{result.trained.alpha:g}' else []
        table.add_row(
            label + ''.join(marks), *(f'{values[row]:.2f}' for values in result.whole.values())
        )
    return table


def gain_table(result: SweepResult) -> Table:
    """What the chosen alpha, and other ways, gain on the images that did not choose."""
    title = f'the {result.images[1]} images that did not choose, %: gain and its 95 % interval'
    table = Table('', box=box.MARKDOWN, title=title)
    first = result.comparisons[0]['figures']
    names = [name for name in first if not math.isnan(first[name])]
    for name in names:
        table.add_column(name, justify='right')
    for row in result.comparisons:
        cells = []
        for name in names:
            gain = row['gains'].get(name)
            more = (
                f' {gain["gain"]:+.2f} ({gain["low"]:+.2f} to {gain["high"]:+.2f})' if gain else ''
            )
            cells.append(f'{row["figures"][name]:.2f}{more}')
        table.add_row(row['name'], *cells)
    return table


def explanation(result: SweepResult) -> list[str]:
    """What a reader of the tables has to know."""
    lines = [
        f'alpha of the model: {result.trained.alpha:g}, since {result.trained.reason}.',
        f'class counts of the training: {result.counts_source}.',
        f'alpha={result.chosen:g} has the best {result.choose_by} on the {result.images[0]} images '
        'that choose.',
    ]
    if result.priors:
        distance = (result.priors['estimated'] - result.priors['true']).abs()
        lines.append(
            f'the prior by EM is within {100 * distance.max():.2f} points of the labels in '
            f'every class, and within {100 * distance.mean():.2f} in the mean.'
        )
    return lines


def write(result: SweepResult, alphas: tuple[float, ...], out: Path) -> Path:
    """Write alphas.csv, sweep.json and alphas.png, and return the last."""
    with (out / 'alphas.csv').open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(['alpha', 'images', *result.whole])
        for title, figures in zip(
            ('all', 'choose', 'report'), (result.whole, *result.halves), strict=True
        ):
            for row, label in enumerate(result.rows):
                table.writerow([label, title, *(f'{v[row]:.4f}' for v in figures.values())])
    content = dict(
        trained_alpha=result.trained.alpha,
        trained_alpha_since=result.trained.reason,
        class_counts=result.counts.counts.tolist(),
        class_counts_from=result.counts_source,
        images=dict(choose=result.images[0], report=result.images[1]),
        choose_by=result.choose_by,
        chosen_alpha=result.chosen,
        reported=result.comparisons,
        offsets={name: values.tolist() for name, values in result.offsets.items()},
        priors={name: values.tolist() for name, values in result.priors.items()},
    )
    (out / 'sweep.json').write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    rows = [i for i, label in enumerate(result.rows) if label != 'target']
    shown = {
        name: values[rows]
        for name, values in result.whole.items()
        if name not in ('aAcc', 'top1') and not name.endswith('_Acc')
    }
    strengths_drawn = [float(result.rows[i]) for i in rows]
    picture = plot_alpha_sweep(
        strengths_drawn, shown, result.trained.alpha, result.chosen, out / 'alphas.png'
    )
    for path in (out / 'alphas.csv', out / 'sweep.json', picture):
        print(path)
    return picture


def fold(config: Config, checkpoint: str, alpha: float, result: SweepResult, out: Path) -> None:
    """Write the model with another alpha, as plain mm packages run it."""
    shift = alpha_offsets(result.counts.log_prior(), [alpha], result.trained.alpha)[0]
    folder = out / f'alpha_{alpha:g}'
    try:
        exported = export_model(config, read_checkpoint(checkpoint), shift=shift)
    except ValueError as error:
        stop(f'Cannot fold alpha={alpha:g} into {checkpoint}: {error}')
    for path in exported.save(folder):
        print(path)


if __name__ == '__main__':
    main()
