"""What ``tools/train.py`` and ``tools/test.py`` have in common: arguments, config, last words."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def stop(message: str) -> NoReturn:
    """Print ``message`` to stderr and leave with exit code 2, without a traceback.

    Args:
        message (str): One sentence that names the thing, the value and the remedy.

    Raises:
        SystemExit: Always, with code 2.
    """
    print(message, file=sys.stderr)
    raise SystemExit(2)


def has_accelerator() -> bool:
    """Whether this machine has a device that mixed-precision training of mmengine runs on."""
    return get_device() not in ('cpu', 'mps')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that follow the positional arguments of every tool.

    Args:
        parser (argparse.ArgumentParser): Changed in place.
    """
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder for logs and results; default: work_dir of the config, '
        'else ./work_dirs/<name of the config>',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that override the config, such as train_dataloader.batch_size=4; '
        'a list is written key="[a,b]" or key=a,b, an item of a list key.0.name=value',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run; default: none, one process',
    )
    # torch.distributed.launch writes either spelling, by its version; torchrun writes neither.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace, root: Path) -> Config:
    """Read the config and apply the options of :func:`add_common_arguments`.

    Args:
        args (argparse.Namespace): ``config`` and the options of :func:`add_common_arguments`.
        root (Path): Repository root, where a relative config is looked for when the current
            directory does not have it.

    Returns:
        Config: With ``launcher`` and ``work_dir`` set, and its ``default_scope`` made current.

    Raises:
        SystemExit: If there is no such config file.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    path = Path(args.config)
    if not path.is_file():
        path = root / args.config
    if not path.is_file():
        stop(
            f'Config {args.config} is neither in {Path.cwd()} nor in {root}: check its spelling, '
            f'or give its absolute path.'
        )
    cfg = Config.fromfile(path)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', path.stem))
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    if cfg.get('default_scope') == 'mmpretrain':
        _set_mmpretrain_loader_defaults(cfg)
    return cfg


def _set_mmpretrain_loader_defaults(cfg: Config) -> None:
    """Fill in what mmpretrain's configs leave to its tools: they name no ``collate_fn``."""
    for name in DATALOADERS:
        loader = cfg.get(name)
        if loader is None:
            continue
        defaults = ConfigDict(
            pin_memory=has_accelerator(),
            # torch refuses to keep workers alive where there are none.
            persistent_workers=loader.get('num_workers', 0) > 0,
            collate_fn=dict(type='default_collate'),
        )
        cfg[name] = ConfigDict({**defaults, **loader})
