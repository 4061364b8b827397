"""One training among those of a method: is it done, with which config, and what does it give?"""

import gc
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import Runner

from lt_mm.engine.config_difference import first_difference
from lt_mm.engine.distributed import GUARD, build_runner
from lt_mm.engine.launch import stop
from lt_mm.engine.saved_checkpoints import LAST, last_checkpoint, saving_of, write_whole

GIFTS = {'teacher': 'model.teacher.checkpoint', 'weights': 'load_from'}
_RECORD = 'stage.json'
# What may differ between two runs of one training without changing its weights.
_WITHOUT_EFFECT = (
    'earlier_stages env_cfg experiment_name launcher load_from log_level log_processor '
    'model_wrapper_cfg resume variant vis_backends visualizer work_dir'
).split()
_AT_TEST_TIME = ('test_', 'tta_')


@dataclass(eq=False)
class Stage:
    """A training by one config, in a folder of its own.

    Args:
        name: of an earlier stage, with those it belongs to: 'encoder/teacher'. 'last' for the
            training that was asked for.
        cfg: config, with ``work_dir`` and ``launcher`` set.
        gives: what its takers get: 'teacher', 'weights' or None for the last stage.
        takers: stages that get it.
        choice: checkpoint they get, 'last' or 'best'.
        options: prefix of its settings in ``--cfg-options``, '' for the last stage.
        variant: of the grid that is trained; the config has it, or stages before this one.
        receives: what earlier stages give to this one.
        skipped: None, or why nothing is wanted of it.
    """

    name: str
    cfg: Config
    gives: str | None = None
    takers: list['Stage'] = field(default_factory=list)
    choice: str = 'last'
    options: str = ''
    variant: str | None = None
    receives: set[str] = field(default_factory=set)
    skipped: str | None = None

    @property
    def folder(self) -> Path:
        """Absolute path of its work dir."""
        return Path(self.cfg.work_dir).absolute()

    @property
    def latest(self) -> str | None:
        """Path of the checkpoint that this training saved last, if one is still there."""
        return last_checkpoint(**saving_of(self.cfg))

    @property
    def finished(self) -> str | None:
        """Path of the checkpoint that its takers get, if the training has come to its end."""
        return self._read_record()[0]

    @property
    def lost(self) -> str | None:
        """Why the stage is trained although its folder says that it was; None if it does not."""
        if self.finished is not None:
            return None
        named = self.folder / LAST
        fault = self._read_record()[1]
        if fault is None and named.exists() and self.latest is None:
            return f'{named} names no checkpoint that is there'
        return fault

    def _read_record(self) -> tuple[str | None, str | None]:
        """The checkpoint that the record names, or what is wrong with the record."""
        record = self.folder / _RECORD
        if not record.exists():
            return None, None
        try:
            path = json.loads(record.read_text())[self.choice]
            if path is None:
                return None, f'{record} names no {self.choice} checkpoint'
            if '://' in path:
                return path, None
            found = (self.folder / path).is_file()
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f'{record} is damaged ({type(error).__name__}: {error})'
        if not found:
            return None, f'{self.folder / path}, which {record} names, is not there'
        return str(self.folder / path), None

    @property
    def resumes(self) -> bool:
        """Whether its training goes on from a checkpoint of its own."""
        return bool(self.cfg.get('resume') and (self.cfg.get('load_from') or self.latest))

    @property
    def teacher(self) -> Mapping | None:
        """What the config says of its model's teacher: {} if it is left to an earlier stage."""
        teacher = (self.cfg.get('model') or {}).get('teacher')
        return teacher if isinstance(teacher, Mapping) else None

    def given(self, gift: str) -> str | None:
        """What a user set in place of a gift, as KEY=VALUE.

        Raises:
            SystemExit: if that is the path of a file that does not exist.
        """
        path = self.cfg.get('load_from')
        if gift == 'teacher':
            path = (self.teacher or {}).get('checkpoint')
        if not path:
            return None
        if '://' not in str(path) and not Path(path).expanduser().is_file():
            stop(
                f'{self.options}{GIFTS[gift]} {path} does not exist: correct the path, or leave it '
                f'out to have an earlier stage trained.'
            )
        return f'{GIFTS[gift]}={path}'

    def take(self, giver: 'Stage', checkpoint: str | None) -> None:
        """Take what an earlier stage gives, unless the user gave it or it is not needed.

        A checkpoint that the user gave is one of the stage's config, unless they gave that, too.
        """
        if giver.gives == 'teacher':
            taken = dict(config=giver.network())
            own = self.teacher or {}
            if self.given('teacher'):
                self.cfg.model.teacher = {**taken, **own}
            else:
                self.cfg.model.teacher = {**own, **taken, 'checkpoint': checkpoint}
        elif not self.resumes and not self.given('weights'):
            self.cfg.load_from = checkpoint
            # The Runner would resume what it is given to load.
            self.cfg.resume = False

    def network(self) -> dict:
        """What it takes to build the trained model again."""
        parts = ('model', 'data_preprocessor')
        return deepcopy({part: self.cfg[part] for part in parts if self.cfg.get(part) is not None})

    def refuse_another_config(self) -> None:
        """Let nothing be mixed with what another config left in the folder.

        Raises:
            SystemExit: if there is a checkpoint, and the config saved beside it differs from the
                one now wanted in what affects the weights.
        """
        dumped = self.folder / Path(self.cfg.filename).name
        if not dumped.is_file() or not (self.finished or self.latest):
            return
        wanted = Config.fromstring(self.cfg.pretty_text, '.py')
        difference = first_difference(self._essence(Config.fromfile(dumped)), self._essence(wanted))
        if difference:
            key, old, new = difference
            stop(
                f'Stage {self.name} in {self.folder} was trained with {key}={old} and {new} is now '
                f'wanted: restore the setting, choose another --work-dir, or delete that folder to '
                f'train the stage anew.'
            )

    def refuse_damaged_record(self) -> None:
        """Do not train again from the start where nobody knows what was trained.

        Raises:
            SystemExit: if the stage has a record that says nothing, and no checkpoint beside it.
        """
        if self.finished is None and self.latest is None and 'is damaged' in (self.lost or ''):
            stop(
                f'{self.lost} and {self.folder} has no checkpoint to go on from: bring them back, '
                f'or delete that folder to train stage {self.name} anew.'
            )

    def train(self) -> str:
        """Train to the end, from the latest checkpoint if there is one.

        Returns:
            Path of the checkpoint that the takers get, in all processes once it is there.

        Raises:
            SystemExit: if the training saved no such checkpoint.
        """
        runner = build_runner(self.cfg)
        runner.train()
        checkpoint = [None]
        if is_main_process():
            self._record(runner)
            checkpoint = [self.finished]
        broadcast_object_list(checkpoint)
        # Hooks, loops and runner refer to each other: without this, the memory of the model and
        # the workers of its data loaders would stay until some later collection.
        del runner
        gc.collect()
        torch.cuda.empty_cache()
        if checkpoint[0] is None:
            stop(
                f'Stage {self.name} left no {self.choice} checkpoint in {self.folder}: let '
                f'default_hooks.checkpoint of {self.cfg.filename} save one.'
            )
        return checkpoint[0]

    def _record(self, runner: Runner) -> None:
        paths = dict(last=self.latest, best=runner.message_hub.runtime_info.get('best_ckpt'))
        for key, path in paths.items():
            # Relative, so that the folder may be moved.
            if path is not None and '://' not in path:
                paths[key] = os.path.relpath(path, self.folder)
        write_whole(self.folder / _RECORD, (json.dumps(paths, indent=1) + '\n').encode())

    def _essence(self, cfg: Config) -> dict:
        content = {
            key: value
            for key, value in cfg.to_dict().items()
            if key not in _WITHOUT_EFFECT and not key.startswith(_AT_TEST_TIME)
        }
        # The tools put lt_mm.SafeCheckpointHook in place of mmengine's.
        ((content.get('default_hooks') or {}).get('checkpoint') or {}).pop('type', None)
        # The tools add it to every config.
        hooks = content.get('custom_hooks') or ()
        content['custom_hooks'] = [hook for hook in hooks if hook != dict(type=GUARD)]
        if 'teacher' in self.receives:
            content.get('model', {}).pop('teacher', None)
        # Without a seed any will do.
        if (self.cfg.get('randomness') or {}).get('seed') is None:
            content.pop('randomness', None)
        return content
