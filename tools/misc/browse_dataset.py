"""Show what the sampler and the pipeline of a config yield, and how often each class comes.

Images are what the model is given, after all augmentations but those of its data preprocessor. The
classes of what is yielded stand beside those of the data set and beside the prior that logit
adjustment is told, so that a sampler, a crop or a wrong label map is seen before the training.
"""

import argparse
import csv
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lt_mm.analysis.browsing import Browsed, browse
from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.launch import add_config_arguments, check_writable, load_config, stop
from lt_mm.visualization.backends import add_to_backends
from lt_mm.visualization.samples import plot_frequencies, plot_samples

ROOT = Path(__file__).resolve().parents[2]
_MOST_ROWS = 30


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '-p', '--phase', choices=['train', 'val', 'test'], default='train', help='default: train'
    )
    parser.add_argument(
        '-n', '--show-number', type=int, default=24, metavar='N', help='images drawn; default: 24'
    )
    parser.add_argument(
        '--samples',
        type=int,
        metavar='N',
        help='samples whose classes are counted; default: one pass, at most 1000',
    )
    parser.add_argument('--seed', type=int, default=0, help='of sampler and pipeline; default: 0')
    parser.add_argument(
        '-o',
        '--output-dir',
        metavar='DIR',
        type=Path,
        help='folder of the pictures; default: WORK_DIR of the config/browse_dataset',
    )
    return parser.parse_args()


def main() -> None:
    """Draw samples, count, write."""
    args = parse_args()
    config = load_config(args, ROOT)
    out = args.output_dir or Path(config.work_dir, 'browse_dataset')
    for name in ('show_number', 'samples'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            option = f'--{name.replace("_", "-")}'
            stop(f'{option} {getattr(args, name)} is no number of images: give 1 or more.')
    try:
        check_dataset_paths(config, (f'{args.phase}_dataloader',))
        check_writable(out, '--output-dir')
        browsed = browse(config, args.phase, args.samples, args.show_number, args.seed)
    except (OSError, ValueError, TypeError) as error:
        stop(f'Cannot browse {args.config}: {error}')
    Console(width=120).print(frequency_table(browsed))
    pictures = dict(
        samples=plot_samples(browsed.shown, browsed.palette, out / 'samples.png'),
        class_frequencies=plot_frequencies(
            browsed.shares, browsed.names, out / 'class_frequencies.png'
        ),
    )
    with (out / 'class_frequencies.csv').open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(['class', *browsed.shares])
        table.writerows(zip(browsed.names, *browsed.shares.values(), strict=True))
    add_to_backends(config, pictures, out)
    for path in (*pictures.values(), out / 'class_frequencies.csv'):
        print(path)


def frequency_table(browsed: Browsed) -> Table:
    """A row a class, the most frequent first; of many classes the first and the last."""
    title = f'{browsed.number} samples, % of their {browsed.unit}'
    table = Table('class', box=box.MARKDOWN, title=title)
    for name in browsed.shares:
        table.add_column(name, justify='right')
    order = (-next(iter(browsed.shares.values()))).argsort(kind='stable').tolist()
    left_out = len(order) - _MOST_ROWS
    for place, c in enumerate(order):
        if left_out > 0 and _MOST_ROWS // 2 <= place < _MOST_ROWS // 2 + left_out:
            continue
        table.add_row(
            browsed.names[c], *(f'{100 * share[c]:.3g}' for share in browsed.shares.values())
        )
    if left_out > 0:
        table.caption = f'{left_out} classes between these are in class_frequencies.csv'
    return table


if __name__ == '__main__':
    main()
