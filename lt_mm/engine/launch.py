"""What tools that read a config have in common: arguments, config, last words."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from lt_mm.checkpoints import trust_checkpoints
from lt_mm.registry import REGISTRIES

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_writable(folder: str | os.PathLike, option: str, files: Iterable[str] = ()) -> None:
    """Make a folder of results, and find out that they can be written before they are worked for.

    Args:
        folder: of the results.
        option: that chooses another one, as the error names it.
        files: names of the results, which may not be folders.

    Raises:
        OSError: if nothing can be written there.
    """
    folder = Path(folder)
    probe = folder / f'.{os.getpid()}.part'
    try:
        if folder.is_file():
            raise NotADirectoryError('it is a file')
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (folder / name).is_dir():
                raise IsADirectoryError(f'{name} is a folder')
        probe.write_text('')
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f'Nothing can be written in {folder} ({reason}): choose another folder with {option}.'
        ) from error


def stop(message: str) -> NoReturn:
    """Print ``message`` to stderr and leave with exit code 2, without a traceback.

    Args:
        message: one sentence that names the thing, the value and the remedy.

    Raises:
        SystemExit: always, with code 2.
    """
    print(message, file=sys.stderr)
    raise SystemExit(2)


def has_accelerator() -> bool:
    """Whether this machine has a device that mixed-precision training of mmengine runs on."""
    return get_device() not in ('cpu', 'mps')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config`` and what changes it: all that :func:`load_config` needs.

    Args:
        parser: changed in place.
    """
    parser.add_argument(
        'config',
        help='config file; a relative path is taken from the current directory, then from the '
        'repository',
    )
    parser.add_argument(
        '--variant',
        metavar='NAME',
        help='the settings of that name in variants of the config, such as one point of a grid',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that override the config, such as train_dataloader.batch_size=4; '
        'a list is written key="[a,b]" or key=a,b, an item of a list key.0.name=value',
    )
    add_trust_argument(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``, for :func:`~lt_mm.checkpoints.trust_checkpoints`.

    Args:
        parser: changed in place.
    """
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that hold other types than tensors, plain Python and what mmengine '
        'saves; loading them runs whatever code they bring',
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where a run leaves its results, and how its processes are started.

    Args:
        parser: changed in place.
    """
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='folder for logs and results; default: work_dir of the config, '
        'else ./work_dirs/<name of the config>',
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
    """Read the config and apply what changes it.

    A variant has a folder of its own beside that of the config: ``work_dir`` ends in its name,
    unless the variant or the command line says otherwise.

    Args:
        args: those of :func:`add_config_arguments` and perhaps :func:`add_run_arguments`.
        root: repository root, where a relative config is looked for when the current
            directory does not have it.

    Returns:
        With ``launcher`` and ``work_dir`` set, and its ``default_scope`` made current.

    Raises:
        SystemExit: if there is no such config file, it has no such variant, or it names a component
            of lt_mm without the prefix.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if 'trust_checkpoint' in args:
        trust_checkpoints(args.trust_checkpoint)
    path = Path(args.config)
    if not path.is_file():
        path = root / args.config
    if not path.is_file():
        places = ' and not in '.join(map(str, dict.fromkeys((Path.cwd(), root))))
        stop(
            f'Config {args.config} is not in {places}: check its spelling, '
            f'or give its absolute path.'
        )
    cfg = Config.fromfile(path)
    base_dir = cfg.get('work_dir') or str(Path('work_dirs', path.stem))
    select_variant(cfg, args.variant)
    cfg.launcher = args.launcher
    if cfg.get('work_dir') in (None, base_dir):
        cfg.work_dir = f'{base_dir}_{args.variant}' if args.variant else base_dir
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
        if Path(cfg.work_dir).is_file():
            stop(
                f'--work-dir {cfg.work_dir} is a file: give the folder that logs and results go to.'
            )
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    _refuse_missing_prefix(cfg.to_dict())
    if cfg.get('default_scope') == 'mmpretrain':
        _set_mmpretrain_loader_defaults(cfg)
    return cfg


def select_variant(cfg: Config, name: str | None) -> None:
    """Merge one of the ``variants`` of a config into it.

    ``variants = dict(NAME=dict(<settings>), ...)`` are the points of a grid: each holds what
    differs from the rest of the config, merged as a config is into its ``_base_``.

    Args:
        cfg: changed in place: without ``variants`` and, if one is selected, with its name
            as ``variant``.
        name: of the variant; None leaves the config as it is without any.

    Raises:
        SystemExit: if the config has no variant of that name, it holds no settings, or its name
            is no part of that of a folder.
    """
    variants = cfg.pop('variants', None) or {}
    if name is None:
        return
    if name not in variants:
        stop(
            f'{cfg.filename} has no variant {name!r}: choose from '
            f'{", ".join(map(str, variants)) or "nothing, it has no variants"}.'
        )
    # It ends the name of a folder.
    if Path(name).name != name or '\\' in name:
        stop(
            f'{cfg.filename} has a variant {name!r}, which cannot end the name of a work_dir: give '
            'it a name without separators of paths.'
        )
    if not isinstance(variants[name], dict):
        stop(
            f'variant {name!r} of {cfg.filename} is {variants[name]!r}: give the settings that '
            'differ, such as dict(model=dict(...)), or dict() for none.'
        )
    cfg.merge_from_dict(variants[name])
    cfg.variant = name


def _refuse_missing_prefix(settings: Any, key: str = '') -> None:
    """Stop at a component of lt_mm that is named without it, which mmengine does not find.

    Args:
        settings: of a config, or part of them.
        key: dotted key of the part.

    Raises:
        SystemExit: if there is one.
    """
    items = settings.items() if isinstance(settings, dict) else enumerate(settings)
    for name, value in items:
        if isinstance(value, dict | list | tuple):
            _refuse_missing_prefix(value, f'{key}{name}.')
        elif name == 'type' and isinstance(value, str) and '_scope_' not in settings:
            for registry in REGISTRIES:
                with registry.parent.switch_scope_and_registry(None) as current:
                    if value in registry.module_dict and current.get(value) is None:
                        stop(f"{key}type is '{value}': write 'lt_mm.{value}'.")


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
