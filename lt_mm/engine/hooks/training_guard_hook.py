"""Stop a training that would be in vain, or that would spoil what another one has saved."""

import errno
import math
import os
import time
from pathlib import Path
from platform import node
from typing import IO, Any

import torch
from mmengine.dist import all_reduce, broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from lt_mm.compat import is_batch_norm, resumes
from lt_mm.engine.config_difference import first_difference, settings_of, without
from lt_mm.engine.distributed import unwrapped
from lt_mm.engine.train_sampler import warn_of_class_weights
from lt_mm.evaluation.per_class import check_names_of_figures
from lt_mm.models.networks.frozen_parts import RANDOM_ENCODER
from lt_mm.registry import HOOKS

try:
    import fcntl
except ImportError:
    # Not on Windows, where two runs in one folder are not told apart.
    fcntl = None

LOCK = '.training'
_WHAT_IS_LEARNT = ('model', 'data_preprocessor', 'train_dataloader')
_SCHEDULE = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr')
# These may change without another training coming of it: teachers move with the folder of their
# stage, and data with the machine.
_WITHOUT_EFFECT = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'test_cfg')
_PLACES = ('teacher', 'data_root')


@HOOKS.register_module()
class TrainingGuardHook(Hook):
    """Refuse to start, or to go on with, a training that cannot come to a good end.

    - ``earlier_stages`` of a config are trained by ``tools/train.py`` of lt_mm alone. Under
      another tool the training does not start unless their teacher or weights are given, nor
      upon a frozen encoder that nothing was loaded into.
    - Two trainings do not write to one work dir at the same time. A lock on a file there, which
      ends with its process and holds over NFS, tells the second one of the first.
    - A training is not resumed with another model or other data than its checkpoint was trained
      with, and warns of another schedule. Naming the checkpoint makes all of it a warning.
    - A training that has diverged stops before it validates or saves: when parameters or running
      statistics are no longer finite, or a loss. Under a gradient scaler, which skips such steps,
      a loss alone is no reason, but one that has not been finite since the last look is.
    - Metrics that would give figures of the same names are refused before the first step, or the
      first image of a test, and class weights behind a sampler that balances warned of.

    ``tools/train.py`` adds this hook to every config.

    Args:
        interval (int): Iterations from one look at losses and parameters to the next; each waits
            for the device once. It looks before every checkpoint and validation, too. Defaults
            to 50.
    """

    # Before the training set is counted, and before anything is saved.
    priority = 'HIGHEST'

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f'interval of TrainingGuardHook is {interval}; use 1 or more.')
        self.interval = interval
        self._losses: list[Tensor] = []
        self._has_loaded = False
        self._lock: IO | None = None

    def before_run(self, runner: Runner) -> None:
        """Refuse a training without its earlier stages, or beside another one in the work dir.

        Args:
            runner (Runner): The runner of the process.

        Raises:
            ValueError: If an earlier stage is missing; if another training has the work dir; if
                two metrics of the validation give figures of the same name.
        """
        # Runner.test and Runner.val leave the optimizer wrapper unbuilt.
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        will_load = runner.cfg.get('load_from') or runner.cfg.get('resume')
        self._refuse_missing_stage(runner, bool(will_load or self._has_loaded))
        refusal = [None]
        if is_main_process() and fcntl is not None and self._lock is None:
            self._lock, refusal[0] = _take_lock(Path(runner.work_dir))
        broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise ValueError(refusal[0])
        if runner.val_loop is not None:
            check_names_of_figures(runner.val_evaluator.metrics)
        warn_of_class_weights(runner)

    def before_test(self, runner: Runner) -> None:
        """Refuse metrics whose figures have the same names.

        Args:
            runner (Runner): The runner of the process.

        Raises:
            ValueError: If two of them meet.
        """
        check_names_of_figures(runner.test_evaluator.metrics)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to go on from what another config has trained, before it is loaded.

        Args:
            runner (Runner): The runner of the process.
            checkpoint (dict): As it was read.

        Raises:
            ValueError: If model or data differ, and the checkpoint was not named.
        """
        self._has_loaded = True
        if resumes(runner):
            self._compare_configs(runner, (checkpoint.get('meta') or {}).get('cfg'))

    def before_train(self, runner: Runner) -> None:
        """Refuse a training without the weights it builds upon, now that all is loaded.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: If an earlier stage is missing; if a frozen encoder is random.
        """
        self._losses = []
        # There may have been nothing to resume.
        self._refuse_missing_stage(runner, self._has_loaded)
        model = unwrapped(runner.model)
        if getattr(model, 'is_frozen_at_random', False):
            raise ValueError(RANDOM_ENCODER.format(type(model).__name__))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at losses and parameters where it is time to, or a checkpoint is about to be saved.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Unused.
            data_batch (dict | tuple | list, optional): Unused.
            outputs (dict, optional): What ``train_step`` returned.

        Raises:
            FloatingPointError: If the training has diverged.
        """
        loss = (outputs or {}).get('loss')
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach())
        elif isinstance(loss, float):
            self._losses.append(torch.tensor(loss))
        if (
            self.every_n_train_iters(runner, self.interval)
            or self.is_last_train_iter(runner)
            or any(_saves_now(hook, runner) for hook in runner.hooks)
        ):
            self._stop_if_diverged(runner, runner.iter + 1, outputs)

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at losses and parameters before the checkpoint of an epoch.

        Raises:
            FloatingPointError: If the training has diverged.
        """
        self._stop_if_diverged(runner, runner.iter)

    def before_val(self, runner: Runner) -> None:
        """Look at metrics, and at losses and parameters if this validates a training.

        Raises:
            ValueError: If two metrics give figures of the same name.
            FloatingPointError: If the training has diverged.
        """
        check_names_of_figures(runner.val_evaluator.metrics)
        if self._losses:
            self._stop_if_diverged(runner, runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Whoever saves: no checkpoint takes the place of a good one that is not finite itself.

        Raises:
            FloatingPointError: If the training has diverged.
        """
        # The main process alone is here, so others cannot be asked.
        broken = _first_not_finite(unwrapped(runner.model))
        if broken is not None:
            raise _diverged(runner, runner.iter, f'{broken} is not finite')

    def after_run(self, runner: Runner) -> None:
        """Leave the work dir to others."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _refuse_missing_stage(self, runner: Runner, weights_given: bool) -> None:
        cfg = runner.cfg
        for name, entry in (cfg.get('earlier_stages') or {}).items():
            to = (entry or {}).get('to', 'last')
            if not entry or 'last' not in ([to] if isinstance(to, str) else to):
                continue
            setting, given = 'load_from', weights_given
            if entry.get('gives') == 'teacher':
                setting = 'model.teacher.checkpoint'
                given = (cfg.model.get('teacher') or {}).get('checkpoint')
            if not given:
                file = cfg.filename or 'CONFIG'
                gives = 'teacher is' if entry.get('gives') == 'teacher' else 'weights are'
                raise ValueError(
                    f'earlier_stages of {file} has stage {name!r}, which tools/train.py of lt_mm '
                    f'alone trains, and its {gives} missing: run `python tools/train.py {file}` in '
                    f'the repository of lt_mm, or set {setting} to a checkpoint of '
                    f'{entry.get("config")} that you have.'
                )

    def _compare_configs(self, runner: Runner, text: str | None) -> None:
        if not isinstance(text, str):
            return
        try:
            old, new = settings_of(text), settings_of(runner.cfg.pretty_text)
        except SyntaxError:
            return
        found = self._difference(old, new, _WHAT_IS_LEARNT, (*_WITHOUT_EFFECT, *_PLACES))
        named = runner.cfg.get('load_from')
        if found and not named:
            key, before, now = found
            raise ValueError(
                f'The checkpoint in {runner.work_dir} was trained with {key}={before}, but the '
                f'config says {now}: restore the setting, choose another work dir, or name the '
                f'checkpoint to go on from it all the same (--resume PATH, or load_from).'
            )
        kept = (*_WHAT_IS_LEARNT, *_SCHEDULE)
        found = found or self._difference(old, new, kept, _WITHOUT_EFFECT)
        if found:
            key, before, now = found
            runner.logger.warning(
                f'The checkpoint was trained with {key}={before}, and goes on with {now}'
            )

    @staticmethod
    def _difference(old: dict, new: dict, kept: tuple, dropped: tuple) -> tuple | None:
        return first_difference(
            *(without({key: cfg.get(key) for key in kept}, dropped) for cfg in (old, new))
        )

    def _stop_if_diverged(
        self, runner: Runner, iterations: int, outputs: dict | None = None
    ) -> None:
        """Wait for the device once, and for the other processes."""
        losses, self._losses = self._losses, []
        model = unwrapped(runner.model)
        flags = [_not_finite(tensor) for tensor in _watched(model).values()]
        if losses:
            # A step that a gradient scaler skips does no harm.
            skips = hasattr(runner.optim_wrapper, 'loss_scaler')
            of_losses = ~torch.stack(losses).isfinite()
            flags.append(of_losses.all() if skips else of_losses.any())
        if not flags:
            return
        stops = torch.stack([flag.to(flags[-1].device) for flag in flags]).any().float()
        all_reduce(stops, 'max')
        if not stops.item():
            return
        causes = []
        first = next((k for k, loss in enumerate(losses) if _is_bad(loss)), None)
        if first is not None:
            iterations -= len(losses) - 1 - first
            causes = [f'the loss is {float(losses[first])}']
            if first == len(losses) - 1:
                # The parts of a loss are at hand for the last step alone.
                causes = [
                    f'{name} is {float(value)}'
                    for name, value in (outputs or {}).items()
                    if 'loss' in name and _is_bad(value)
                ] or causes
        broken = _first_not_finite(model)
        if broken is not None:
            causes.append(f'{broken} is not finite')
        raise _diverged(runner, iterations, ', '.join(causes) or 'in another process')


def _watched(model: nn.Module) -> dict[str, Tensor]:
    """What must stay finite: parameters and running statistics, by name.

    Other buffers may hold an infinity rightly, such as the log prior of a class without samples.
    """
    return dict(model.named_parameters()) | {
        f'{path}.{name}'.lstrip('.'): buffer
        for path, module in model.named_modules()
        if is_batch_norm(module)
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point()
    }


def _not_finite(tensor: Tensor) -> Tensor:
    return ~tensor.detach().isfinite().all()


def _first_not_finite(model: nn.Module) -> str | None:
    """Name of the first parameter or statistic that is not finite; waits for the device once."""
    watched = _watched(model)
    flags = [_not_finite(tensor) for tensor in watched.values()]
    if not flags:
        return None
    broken = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()
    return next((name for name, bad in zip(watched, broken, strict=True) if bad), None)


def _is_bad(value: Any) -> bool:
    return not math.isfinite(value)


def _diverged(runner: Runner, iterations: int, cause: str) -> FloatingPointError:
    saved = runner.message_hub.runtime_info.get('last_ckpt')
    kept = f'{saved} is the last checkpoint' if saved else 'no checkpoint was saved'
    return FloatingPointError(
        f'The training has diverged by iteration {iterations} ({cause}) and stops before it saves '
        f'that; {kept}. Lower the learning rate, warm up longer or clip gradients '
        f'(optim_wrapper.clip_grad), and look for what is not finite in the data.'
    )


def _saves_now(hook: Hook, runner: Runner) -> bool:
    return (
        isinstance(hook, CheckpointHook)
        and not hook.by_epoch
        and hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
    )


def _take_lock(folder: Path) -> tuple[IO | None, str | None]:
    """The open file that holds the lock, or why it cannot be had; neither where there are none."""
    try:
        file = open(folder / LOCK, 'a+')  # noqa: SIM115
    except OSError:
        return None, None
    try:
        # Of a process, not of an open file: workers do not inherit it, and NFS knows it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        other = file.read().strip()
        file.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None, None
        return None, (
            f'Another training ({other}) writes to {folder}: choose another work dir, or wait for '
            f'its end.'
        )
    file.truncate(0)
    file.write(f'process {os.getpid()} on {node()}, since {time.strftime("%Y-%m-%d %H:%M:%S")}')
    file.flush()
    return file, None
