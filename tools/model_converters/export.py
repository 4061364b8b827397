"""Export a trained model for inference with mmsegmentation or mmpretrain, without lt_mm."""

import argparse
from pathlib import Path

from lt_mm.checkpoints import read_checkpoint
from lt_mm.engine.launch import add_config_arguments, load_config, stop
from lt_mm.export.exported_model import export_model

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth file that the training saved')
    parser.add_argument('out_dir', help='folder for config.py, weights.pth and perhaps modules')
    parser.add_argument(
        '--expert', type=int, metavar='N', help='which of several experts, from 0, goes alone'
    )
    return parser.parse_args()


def main() -> None:
    """Export, and say what was written."""
    args = parse_args()
    config = load_config(args, ROOT)
    checkpoint = Path(args.checkpoint)
    if not checkpoint.is_file():
        stop(f'Checkpoint {checkpoint} does not exist: give the path of a .pth file.')
    try:
        exported = export_model(config, read_checkpoint(checkpoint), args.expert)
    except ValueError as error:
        stop(f'Cannot export {args.config} with {checkpoint}: {error}')
    for path in exported.save(args.out_dir):
        print(f'{path}: {path.stat().st_size:,} bytes')
    print(f'{checkpoint} has {checkpoint.stat().st_size:,} bytes.')
    if exported.modules:
        files = ', '.join(f'{module}.py' for module in exported.modules)
        print(
            f'The mm packages lack a part of it: keep {files} beside config.py, which finds them '
            f'there. A copy of the config elsewhere needs PYTHONPATH={Path(args.out_dir).resolve()}'
        )
    if 'test_evaluator' not in exported.config:
        print('The test set or its metric is of lt_mm: the config is for inference only.')


if __name__ == '__main__':
    main()
