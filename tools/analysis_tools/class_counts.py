"""Count the classes of the training set of a config: two JSON files and a bar chart.

The JSON files can be given to ``ClassCountsHook(class_counts=...)``. No model is built.
"""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope

from lt_mm.datasets.class_counting import count_classes
from lt_mm.engine.launch import check_writable, select_variant, stop
from lt_mm.visualization.backends import add_to_backends
from lt_mm.visualization.class_counts import draw_class_counts


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Count the classes of the training set')
    parser.add_argument('config', help='config file whose train_dataloader.dataset is counted')
    parser.add_argument('--out-dir', help='folder of the results (./work_dirs/class_counts/CONFIG)')
    parser.add_argument('--workers', type=int, default=2, help='processes that read maps (2)')
    parser.add_argument('--variant', metavar='NAME', help='of the config, such as if50')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='config overrides')
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Count, write, and say in one line a unit what was found."""
    options = parse_args(args)
    config = Config.fromfile(options.config)
    select_variant(config, options.variant)
    config.merge_from_dict(options.cfg_options or {})
    init_default_scope(config.get('default_scope', 'mmengine'))
    name = '_'.join(filter(None, (Path(options.config).stem, options.variant)))
    folder = Path(options.out_dir or Path('work_dirs', 'class_counts', name))
    try:
        check_writable(folder, '--out-dir', ('class_counts.png',))
    except OSError as error:
        stop(str(error))
    counted = count_classes(DATASETS.build(config.train_dataloader.dataset), options.workers)
    # An image counts once for each class that it shows.
    totals = dict(pixels='pixels', images='image labels')
    for unit, counts in counted.items():
        counts.save(folder / f'{unit}.json')
        empty = int((counts.counts == 0).sum())
        print(
            f'{counts.counts.sum().item():,} {totals[unit]} in {counts.num_classes} classes, '
            f'{empty} of them empty, imbalance factor {counts.imbalance_factor:,.1f}: '
            f'{folder / unit}.json'
        )
    figure = draw_class_counts(list(counted.values()), folder / 'class_counts.png')
    add_to_backends(config, dict(class_counts=figure), folder)
    print(f'Bar chart: {folder / "class_counts.png"}')


if __name__ == '__main__':
    main()
