"""Print a config with all that it inherits, its variant and its overrides, as a file to train."""

import argparse
from pathlib import Path

from lt_mm.engine.launch import add_config_arguments, load_config

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Read and print."""
    print(load_config(parse_args(), ROOT).pretty_text)


if __name__ == '__main__':
    main()
