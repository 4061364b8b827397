"""Export one expert of a trained classifier for inference with mmpretrain, without lt_mm."""

import argparse
from functools import partial
from pathlib import Path

from lt_mm.export.command import add_export_arguments, run_export
from lt_mm.export.expert import export_expert

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_export_arguments(parser)
    parser.add_argument('expert', type=int, help='which expert, from 0')
    parser.add_argument('out_dir', help='folder for config.py, weights.pth and perhaps modules')
    return parser.parse_args()


def main() -> None:
    """Export, and say what was written."""
    args = parse_args()
    what = f'expert {args.expert} of {args.config}'
    exported = run_export(args, ROOT, what, partial(export_expert, expert=args.expert))
    if exported.modules:
        print(
            f'mmpretrain has not all of it: keep {", ".join(f"{m}.py" for m in exported.modules)} '
            'beside config.py, which finds it there. A copy of the config elsewhere needs '
            f'PYTHONPATH={Path(args.out_dir).resolve()}'
        )


if __name__ == '__main__':
    main()
