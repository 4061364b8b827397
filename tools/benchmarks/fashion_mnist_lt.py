"""Train what tools/compare.py has no name for on Fashion-MNIST-LT, and compare it in one table.

Settings of GML, and weights that are learnt with their controls. Settings are chosen on the split
'tuning', and the table is of the split 'test', after the last epoch.
"""

import argparse

from lt_mm.benchmark.methods import FASHION_MNIST_LT
from lt_mm.benchmark.run import add_arguments, run_benchmark


def main(argv: list[str] | None = None) -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, FASHION_MNIST_LT, methods=['all'], seeds=[0, 1, 2], jobs=2)
    parser.add_argument('--split', default='test', help="'test' (default) or 'tuning'")
    args = parser.parse_args(argv)
    run_benchmark(FASHION_MNIST_LT, args, [f'val_dataloader.dataset.split={args.split}'])


if __name__ == '__main__':
    main()
