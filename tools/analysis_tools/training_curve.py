"""Draw a logged value over the iterations of one or more training runs."""

import argparse
from pathlib import Path

from lt_mm.engine.launch import stop
from lt_mm.visualization.training_curve import plot_training_curves, read_curve


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', help='work dirs of the runs')
    parser.add_argument('--key', required=True, help='such as loss or decode.gml_temperature')
    parser.add_argument('--names', nargs='+', help='of the runs; default: their folders')
    parser.add_argument('--ylabel', help='default: the key')
    parser.add_argument('--out', type=Path, default=Path('curve.png'), help='default: curve.png')
    return parser.parse_args()


def main() -> None:
    """Read and draw."""
    args = parse_args()
    names = args.names or args.work_dirs
    if len(names) != len(args.work_dirs):
        stop(f'{len(names)} --names were given for {len(args.work_dirs)} runs: name each run.')
    try:
        curves = [read_curve(work_dir, args.key) for work_dir in args.work_dirs]
    except (FileNotFoundError, KeyError) as error:
        stop(error.args[0])
    path = plot_training_curves(
        dict(zip(names, curves, strict=True)), args.ylabel or args.key, args.out
    )
    print(path)


if __name__ == '__main__':
    main()
