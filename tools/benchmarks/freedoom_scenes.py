"""Train what tools/compare.py has no name for on the small Freedoom scenes, and compare it.

Settings of GML, combinations and experts, beside cross-entropy and balanced softmax. Settings are
chosen on the split 'tuning', and the table is of the split 'validation', after the last iteration.
"""

import argparse

from lt_mm.benchmark.methods import FREEDOOM_SCENES
from lt_mm.benchmark.run import add_arguments, run_benchmark


def main(argv: list[str] | None = None) -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, FREEDOOM_SCENES, methods=['all'], seeds=[0, 1, 2], jobs=2)
    parser.add_argument('--split', default='validation', help="'validation' (default) or 'tuning'")
    args = parser.parse_args(argv)
    folders = dict(img_path='images', seg_map_path='annotations')
    options = [
        f'val_dataloader.dataset.data_prefix.{key}={folder}/{args.split}'
        for key, folder in folders.items()
    ]
    run_benchmark(FREEDOOM_SCENES, args, options)


if __name__ == '__main__':
    main()
