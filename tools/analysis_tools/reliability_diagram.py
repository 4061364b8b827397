"""Draw reliability diagrams from what lt_mm.CalibrationError wrote as output_json."""

import argparse
from pathlib import Path

from lt_mm.engine.launch import stop
from lt_mm.visualization.reliability import plot_reliability, read_calibration


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', nargs='+', help='output_json of each model')
    parser.add_argument('--names', nargs='+', help='of the models; default: the names of the files')
    parser.add_argument(
        '--out', type=Path, default=Path('reliability.png'), help='default: reliability.png'
    )
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Read and draw."""
    options = parse_args(args)
    names = options.names or [Path(file).stem for file in options.files]
    if len(names) != len(options.files):
        stop(f'{len(names)} --names were given for {len(options.files)} files: name each file.')
    if len(set(names)) != len(names):
        stop(f'Two files are called the same ({", ".join(names)}): tell them apart by --names.')
    try:
        contents = [read_calibration(file) for file in options.files]
    except (FileNotFoundError, ValueError) as error:
        stop(error.args[0])
    print(plot_reliability(dict(zip(names, contents, strict=True)), options.out))


if __name__ == '__main__':
    main()
