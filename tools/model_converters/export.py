"""Export a trained GML or cosine segmentor for inference with mmsegmentation, without lt_mm."""

import argparse
from pathlib import Path

from lt_mm.export.command import add_export_arguments, run_export
from lt_mm.export.exported_model import export_segmentor

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_export_arguments(parser)
    parser.add_argument('out_dir', help='folder for config.py, weights.pth and the head module')
    return parser.parse_args()


def main() -> None:
    """Export, and say what was written."""
    args = parse_args()
    exported = run_export(args, ROOT, args.config, export_segmentor)
    for name in exported.modules:
        print(
            f'The head is in {name}.py: keep it beside config.py, which finds it there. A copy of '
            f'the config elsewhere needs PYTHONPATH={Path(args.out_dir).resolve()}'
        )
    if 'test_dataloader' not in exported.config:
        print('The test set or its metric is of lt_mm: the config is for inference only.')


if __name__ == '__main__':
    main()
