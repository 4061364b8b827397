"""Several processes on machines without an accelerator, where mmengine expects CUDA."""

import atexit
import gc
import logging
import os
import subprocess
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce_params, is_distributed
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn

from lt_mm.engine.launch import has_accelerator, stop
from lt_mm.registry import MODEL_WRAPPERS

# Where each launcher tells a process its global rank, the number of processes, its local rank.
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}

GUARD = 'lt_mm.TrainingGuardHook'


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper for a model that is not on an accelerator.

    ``SyncBatchNorm``, which runs on accelerators only, is reverted to ``BatchNorm``: a batch is
    normalised by the statistics of the process's own share. The running statistics are averaged
    over the processes at every step, so that all validate the model that is saved.

    Args:
        module: the model; its ``SyncBatchNorm`` layers are replaced.
        device_ids: ignored, because the Runner hands every wrapper its local rank.
        broadcast_buffers: see ``DistributedDataParallel``. Defaults to False: buffers of
            lt_mm are the same in all processes anyway.
        **kwargs: Those of ``MMDistributedDataParallel``.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: Any = None,
        broadcast_buffers: bool = False,
        **kwargs: Any,
    ) -> None:
        print_log(
            'Distributed training without an accelerator: SyncBatchNorm layers are reverted to '
            'BatchNorm layers if they are used, so batch statistics are those of each process.',
            logger='current',
            level=logging.WARNING,
        )
        super().__init__(
            module=revert_sync_batchnorm(module),
            device_ids=None,
            broadcast_buffers=broadcast_buffers,
            **kwargs,
        )

    def train_step(
        self, data: dict | tuple | list, optim_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        """Train on one batch, then average the running statistics over the processes."""
        log_vars = super().train_step(data, optim_wrapper)
        statistics = [
            buffer
            for part in self.module.modules()
            if part.training
            for name, buffer in part.named_buffers(recurse=False)
            if name in ('running_mean', 'running_var')
        ]
        all_reduce_params(statistics, op='mean')
        return log_vars


def prepare_distributed(cfg: Config) -> None:
    """Make a Runner of ``cfg`` work in several processes when there is no accelerator.

    The process group is started with gloo, which the Runner then leaves alone, and the model
    gets :class:`CPUDistributedDataParallel`, unless the config names a wrapper of another kind
    than mmengine's default. ``env_cfg.dist_cfg.timeout`` (seconds) is respected. Nothing happens
    without a launcher or with an accelerator: there mmengine does it all.

    Args:
        cfg: with ``launcher`` set; changed in place.

    Raises:
        SystemExit: if the launcher left out what it should have told this process.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or has_accelerator():
        return
    if not is_distributed():
        _read_environment(launcher)
        seconds = (cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
        timeout = None if seconds is None else timedelta(seconds=seconds)
        torch.distributed.init_process_group('gloo', timeout=timeout)
        atexit.register(end_process_group)
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    if wrapper.setdefault('type', 'MMDistributedDataParallel') == 'MMDistributedDataParallel':
        wrapper['type'] = 'lt_mm.CPUDistributedDataParallel'
        wrapper.setdefault('find_unused_parameters', cfg.get('find_unused_parameters', False))
        cfg.model_wrapper_cfg = wrapper


def build_runner(cfg: Config, terse: bool = False) -> Runner:
    """The Runner of a config that :func:`~lt_mm.engine.launch.load_config` read.

    mmengine's own hooks for checkpoints become a :class:`~lt_mm.engine.hooks.SafeCheckpointHook`,
    which does the same and survives more. A :class:`~lt_mm.engine.hooks.TrainingGuardHook` is added
    unless there is one.

    Args:
        cfg: with ``launcher`` set; changed in place.
        terse: whether what is told in several lines, such as the whole config, is in the log file
            only.

    Raises:
        SystemExit: if the launcher left out what it should have told this process.
    """
    prepare_distributed(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    replace_default_hook(cfg, 'checkpoint', 'CheckpointHook', 'lt_mm.SafeCheckpointHook')
    hooks = cfg.get('custom_hooks') or []
    # A hook may be given as an object.
    if not any(isinstance(hook, dict) and hook.get('type') == GUARD for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=GUARD)]
    if terse:
        kind = RUNNERS.get(cfg.get('runner_type', 'Runner'))
        return type(kind.__name__, (_Terse, kind), {}).from_cfg(cfg)
    return RUNNERS.build(cfg)


class _Terse:
    """A Runner whose screen shows single lines."""

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_short)
        return logger


def _is_short(record: logging.LogRecord) -> bool:
    """Whether a message is a line, or a warning of any length."""
    return record.levelno > logging.INFO or '\n' not in record.getMessage().strip()


def replace_default_hook(cfg: Config, name: str, kind: str, ours: str) -> None:
    """Put a hook of lt_mm in place of one of mmengine's default hooks, with its arguments.

    Args:
        cfg: changed in place, unless it has a hook of another kind there, or None.
        name: of the default hook.
        kind: type of mmengine's.
        ours: type of the one of lt_mm.
    """
    hooks = dict(cfg.get('default_hooks') or {})
    # What the Runner takes where the config says nothing.
    defaults = dict(type=kind, interval=1) if name == 'checkpoint' else dict(type=kind)
    hook = hooks.get(name, defaults)
    if hook is not None and hook.get('type') == kind:
        cfg.default_hooks = {**hooks, name: {**hook, 'type': ours}}


def end_process_group() -> None:
    """Leave the process group, and wait for its threads.

    A thread of gloo that still holds tensors of the last message when Python shuts down aborts the
    process. The threads end with the group, and DDP keeps that alive; models, runners and hooks
    refer to each other, so that only a collection frees them.
    """
    if is_distributed():
        gc.collect()
        torch.distributed.destroy_process_group()


def write_metrics_once(cfg: Config) -> None:
    """Let rank 0 alone write the JSON file of a test's metrics, see :class:`RankZeroLoggerHook`.

    Args:
        cfg: of a test; changed in place, unless it has a logger hook of another kind.
    """
    replace_default_hook(cfg, 'logger', 'LoggerHook', 'lt_mm.RankZeroLoggerHook')


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where the Runner has put a wrapper such as DDP around it.

    Args:
        model: ``runner.model``.
    """
    return model.module if is_model_wrapper(model) else model


def _read_environment(launcher: str) -> None:
    """Set the variables that torch reads from those that the launcher sets."""
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_slurm_host()
    needed = (*_VARIABLES[launcher], 'MASTER_ADDR')
    missing = [name for name in needed if name not in os.environ]
    if missing:
        stop(
            f'--launcher {launcher} needs {", ".join(missing)} in the environment, which the '
            'launcher did not set: start with tools/dist_*.sh or tools/slurm_*.sh, or leave '
            '--launcher out for a single process.'
        )
    for name, source in zip(_VARIABLES['pytorch'], _VARIABLES[launcher], strict=True):
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')


def _first_slurm_host() -> str:
    """The first host of the Slurm job, which runs rank 0."""
    command = ['scontrol', 'show', 'hostnames']
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError) as error:
        stop(
            f'The first host of this Slurm job is unknown, because `{" ".join(command)}` failed '
            f'({error}): set MASTER_ADDR to the host of rank 0.'
        )
