"""Checkpoints that survive a kill, a full disk and a moved folder."""

import hashlib
import inspect
import os
import pickle
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, save_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from lt_mm import compat
from lt_mm.engine.saved_checkpoints import (
    LAST,
    checkpoint_folder,
    last_checkpoint,
    remove_drafts,
    resumable_checkpoint,
    write_whole,
)
from lt_mm.registry import HOOKS, arguments_of, did_you_mean


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, so that a training can always be resumed.

    In a config, ``default_hooks.checkpoint.type='lt_mm.SafeCheckpointHook'`` is all it takes; the
    arguments are those of ``CheckpointHook``. It differs in this:

    - A checkpoint is written to a file beside it, NAME.part, and gets its name when it is on the
      disk. Then ``last_checkpoint`` is replaced, and only then are old checkpoints deleted. The
      same holds for the best checkpoints and the published ones.
    - ``last_checkpoint`` is relative to its folder, so the work dir may be moved or copied.
    - ``resume=True`` without ``load_from`` goes on from the newest checkpoint that can be read,
      the same on all ranks, and names what was passed over.
    - Only checkpoints in the folder that the hook saves to are ever deleted.

    This holds for files. Addresses of other backends are left to these.

    Raises:
        TypeError: If an argument is unknown, which ``CheckpointHook`` finds out when it saves.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = [*arguments_of(type(self)), *inspect.signature(Runner.save_checkpoint).parameters]
        for key in self.args:
            if key not in known:
                raise TypeError(
                    f'{type(self).__name__} has no argument {key!r}{did_you_mean(key, known)}; '
                    'use those of CheckpointHook.'
                )

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint that is resumed.

        Raises:
            ValueError: see :func:`~lt_mm.engine.saved_checkpoints.resumable_checkpoint`.
        """
        if not isinstance(runner, Runner) or not compat.resumes_latest(runner):
            return
        chosen: list[str | None] = [None, None]
        if is_main_process():
            try:
                chosen[0], passed_over = resumable_checkpoint(
                    runner.work_dir,
                    checkpoint_folder(runner.work_dir, self.out_dir),
                    self.filename_tmpl,
                )
                for reason in passed_over:
                    runner.logger.warning(f'Not resumed from {reason}')
            except ValueError as error:
                chosen[1] = str(error)
        # Every rank has to go on from the same one, or to stop.
        broadcast_object_list(chosen)
        if chosen[1] is not None:
            raise ValueError(chosen[1])
        if chosen[0] is not None:
            compat.resume_from(runner, chosen[0])

    def before_train(self, runner: Runner) -> None:
        """Find the folder of the checkpoints, and what the run has left there before."""
        folder = checkpoint_folder(runner.work_dir, self.out_dir)
        ours = '://' not in folder and self.file_client_args is None
        if ours and (self.backend_args or {}).get('backend', 'local') == 'local':
            self.backend_args = dict(backend='lt_mm.whole_files')
        resumed = compat.resumed_from(runner)
        info = runner.message_hub.runtime_info
        if resumed is not None and not _is_in(resumed, folder):
            # Numbers of files in another folder, which is not this run's to tidy.
            info.pop('keep_ckpt_ids', None)
        super().before_train(runner)
        if is_main_process() and ours:
            for draft in remove_drafts([self.out_dir, runner.work_dir]):
                runner.logger.info(f'The half-written {draft} is removed')
        for key, path in (self._best if resumed is not None else {}).items():
            # The folder may have been moved.
            here = path and self.file_backend.join_path(self.out_dir, os.path.basename(path))
            if here and here != path and self.file_backend.isfile(here):
                self._set_best(key, here)
                info['best_ckpt' if key is None else f'best_ckpt_{key}'] = here

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0:
            kept = [*self.keep_ckpt_ids]
            if kept[-1:] != [step]:
                kept.append(step)
            # The new checkpoint knows of the outdated ones, too: a run that is killed before it
            # deletes them does so when it is resumed.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with self._saying_what_remains(runner):
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                path = self.last_ckpt
                # Only this Runner finds out what that is relative to.
                if isinstance(runner, Runner) and _is_in(path, runner.work_dir):
                    path = name
                write_whole(os.path.join(runner.work_dir, LAST), path.encode())
        for number in outdated:
            old = self.filename_tmpl.format(number)
            self._delete(self.file_backend.join_path(self.out_dir, old))
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        before = self._best
        # The old ones are deleted by what they are called here.
        for key in before:
            self._set_best(key, None)
        with self._saying_what_remains(runner):
            super()._save_best_checkpoint(runner, metrics)
        for key, old in before.items():
            new = self._best.get(key)
            if new is None:
                self._set_best(key, old)
            elif old and old != new and _is_in(old, self.out_dir) and self._delete(old):
                runner.logger.info(f'The previous best checkpoint {old} is removed')

    @property
    def _best(self) -> dict[str | None, str | None]:
        """Paths of the best checkpoints, by figure; None stands for the only one."""
        if not self.save_best:
            return {}
        if hasattr(self, 'best_ckpt_path_dict'):
            return dict(self.best_ckpt_path_dict)
        return {None: self.best_ckpt_path}

    def _set_best(self, key: str | None, path: str | None) -> None:
        if key is None:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[key] = path

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str | None) -> None:
        if ckpt_path is None:
            return
        checkpoint = CheckpointLoader.load_checkpoint(ckpt_path)
        removed = [key for key in checkpoint if key not in self.published_keys]
        for key in removed:
            del checkpoint[key]
        if removed:
            runner.logger.info(
                f'The keys {removed} are not published, because published_keys lacks them'
            )
        digest = hashlib.sha256(pickle.dumps(checkpoint)).hexdigest()
        path = f'{os.path.splitext(ckpt_path)[0]}-{digest[:8]}.pth'
        with self._saying_what_remains(runner):
            save_checkpoint(checkpoint, path, backend_args=self.backend_args)
        runner.logger.info(f'The checkpoint ({ckpt_path}) is published to {path}.')

    def _delete(self, path: str) -> bool:
        """Delete a checkpoint, which deepspeed saves as a folder; say whether it was there."""
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif is_main_process() and self.file_backend.isdir(path):
            self.file_backend.rmtree(path)
        else:
            return False
        return True

    @contextmanager
    def _saying_what_remains(self, runner: Runner) -> Iterator[None]:
        """Let the error of a full disk tell which checkpoints are still there."""
        try:
            yield
        except CheckpointNotSavedError:
            raise
        except OSError as error:
            remains = last_checkpoint(runner.work_dir, self.out_dir, self.filename_tmpl)
            remedy = f'{remains} is whole: make room and go on from it with --resume.'
            raise CheckpointNotSavedError(
                error.errno,
                f'{error.filename or "A checkpoint"} could not be saved ({error.strerror}); '
                + (remedy if remains else 'there is no earlier one: make room and start again.'),
            ) from error


class CheckpointNotSavedError(OSError):
    """A checkpoint could not be written; the earlier ones are as they were."""


def _is_in(path: str, folder: str) -> bool:
    """Whether a file lies directly in a folder."""
    return os.path.realpath(os.path.dirname(path)) == os.path.realpath(folder)
