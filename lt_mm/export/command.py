"""What the command lines of the exports have in common."""

import argparse
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config, DictAction

from lt_mm.checkpoints import read_checkpoint
from lt_mm.engine.launch import load_config, stop
from lt_mm.export.exported_model import ExportedModel


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config``, ``checkpoint`` and ``--cfg-options``.

    Args:
        parser (argparse.ArgumentParser): Changed in place; ``out_dir`` is still to be added.
    """
    parser.add_argument(
        'config',
        help='config of the training; a relative path is taken from the current directory, then '
        'from the repository',
    )
    parser.add_argument('checkpoint', help='.pth file that the training saved')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='config overrides'
    )
    # What load_config asks for besides: of no use where nothing is run.
    parser.set_defaults(launcher='none', local_rank=0, work_dir=None, variant=None)


def run_export(
    args: argparse.Namespace,
    root: Path,
    what: str,
    export: Callable[[Config, dict], ExportedModel],
) -> ExportedModel:
    """Read config and checkpoint, export, write to ``out_dir``, and say what was written.

    Args:
        args (argparse.Namespace): Those of :func:`add_export_arguments`, and ``out_dir``.
        root (Path): Repository root, see :func:`load_config`.
        what (str): What an error says cannot be exported.
        export (Callable[[Config, dict], ExportedModel]): Takes the config and the checkpoint.

    Returns:
        ExportedModel: What was written.

    Raises:
        SystemExit: If there is no such config or checkpoint, or the model cannot be exported.
    """
    config = load_config(args, root)
    checkpoint = Path(args.checkpoint)
    if not checkpoint.is_file():
        stop(f'Checkpoint {checkpoint} does not exist: give the path of a .pth file.')
    try:
        exported = export(config, read_checkpoint(checkpoint))
    except ValueError as error:
        stop(f'Cannot export {what} with {checkpoint}: {error}')
    for path in exported.save(args.out_dir):
        print(f'{path}: {path.stat().st_size:,} bytes')
    print(f'{checkpoint} has {checkpoint.stat().st_size:,} bytes.')
    return exported
