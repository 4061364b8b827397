"""Train methods for classification on DigitsLT over several seeds and compare them in one table.

Hyper-parameters were chosen on the split 'tuning'; the table is of the split 'test', after the
last epoch.
"""

import argparse

from lt_mm.benchmark.methods import DIGITS_LT, META_WEIGHTS
from lt_mm.benchmark.run import add_arguments, run_benchmark


def main(argv: list[str] | None = None) -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument(
        '--meta-weights', action='store_true', help='the line-up of weights that are learnt'
    )
    benchmark = META_WEIGHTS if parser.parse_known_args(argv)[0].meta_weights else DIGITS_LT
    parser.add_argument('-h', '--help', action='help')
    add_arguments(parser, benchmark, methods=['all'], seeds=[0, 1, 2], jobs=2)
    parser.add_argument('--split', default='test', help="'test' (default) or 'tuning'")
    args = parser.parse_args(argv)
    run_benchmark(benchmark, args, [f'val_dataloader.dataset.split={args.split}'])


if __name__ == '__main__':
    main()
