"""Export one expert of a trained classifier for inference with mmpretrain, without lt_mm."""

import argparse
from pathlib import Path

from mmengine.config import DictAction

from lt_mm.engine.command_line import load_config, stop
from lt_mm.engine.export_expert import export_expert
from lt_mm.models.teachers import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        help='config of the training; a relative path is taken from the current directory, then '
        'from the repository',
    )
    parser.add_argument('checkpoint', help='.pth file that the training saved')
    parser.add_argument('expert', type=int, help='which expert, from 0')
    parser.add_argument('out_dir', help='folder for config.py, weights.pth and perhaps modules')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='config overrides'
    )
    # What load_config asks for besides: of no use where nothing is run.
    parser.set_defaults(launcher='none', local_rank=0, work_dir=None)
    return parser.parse_args()


def main() -> None:
    """Export, and say what was written."""
    args = parse_args()
    cfg = load_config(args, ROOT)
    checkpoint = Path(args.checkpoint)
    if not checkpoint.is_file():
        stop(f'Checkpoint {checkpoint} does not exist: give the path of a .pth file.')
    try:
        exported = export_expert(cfg, read_checkpoint(checkpoint), args.expert)
    except ValueError as error:
        stop(f'Cannot export expert {args.expert} of {args.config} with {checkpoint}: {error}')
    for path in exported.save(args.out_dir):
        print(f'{path}: {path.stat().st_size:,} bytes')
    print(f'{checkpoint} has {checkpoint.stat().st_size:,} bytes.')
    if exported.modules:
        print(
            f'mmpretrain has not all of it: keep {", ".join(f"{m}.py" for m in exported.modules)} '
            'beside config.py, which finds it there. A copy of the config elsewhere needs '
            f'PYTHONPATH={Path(args.out_dir).resolve()}'
        )


if __name__ == '__main__':
    main()
