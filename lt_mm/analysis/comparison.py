"""Methods for long tails on a user's own config, trained with equal budgets, side by side."""

import fcntl
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import Dataset

from lt_mm.analysis.budget import is_by_epoch, type_name, with_budget
from lt_mm.analysis.variants import (
    ALWAYS,
    SEGMENTATION,
    VARIANTS,
    Context,
    check_model,
    config_diff,
    derive,
    method_name,
    task_of,
)
from lt_mm.benchmark.experiments import Experiment, Result, run_all
from lt_mm.benchmark.methods import Method
from lt_mm.datasets.class_counting import count_samples
from lt_mm.engine.data_config import check_dataset_paths, walk_datasets
from lt_mm.engine.launch import check_writable
from lt_mm.stages.stage import first_difference
from lt_mm.structures import ClassCounts

# What methods are chosen by where trials are spent: all classes alike, as the held-out part has the
# long tail of the training set.
CHOSEN_BY = {SEGMENTATION: 'mIoU', 'classification': 'accuracy/macro'}
HELD_OUT_SHARE = 0.2
_MOST_TRIALS = 8


class Trial(NamedTuple):
    """A value that was tried for the hyper-parameter of a method."""

    method: str
    parameter: str
    value: float
    score: float
    """Of the held-out part; NaN where the trial failed."""


@dataclass
class Comparison:
    """What is compared, and what came of it.

    Args:
        config: of the user, as it is read.
        folder: for all that is written.
        names: of the methods; the first is what the others are compared with.
        seeds: of the runs of every method.
        budget: iterations of every run; None leaves the schedule of the config.
        trials: a method has of its own hyper-parameter.
        jobs: runs at a time.
        devices: GPUs by their numbers, among which the runs are shared out.
        say: takes lines for the user.
        tuning: settings of the config, by dotted keys, with which it validates on a split of its
            own for the trials. None holds out a part of the training set for them.

    Attributes:
        failures: method, or run, and why it has no result.
        results: of all runs that have one.
        tried: trials of all methods.
        diffs: lines of what each method changes, and of what all have otherwise than the user's.
        configs: of the methods.
        chosen: values of their hyper-parameters; None for the default.
        runs: of each method and seed.
        twins: methods whose config is that of another one, which is trained.
    """

    config: Config
    folder: Path
    names: Sequence[str]
    seeds: Sequence[int] = (0, 1, 2)
    budget: int | None = None
    trials: int = 0
    jobs: int = 1
    devices: Sequence[str] = ()
    say: Callable[[str], None] = print
    tuning: Mapping[str, Any] | None = None
    failures: dict[str, str] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    tried: list[Trial] = field(default_factory=list)
    diffs: dict[str, list[str]] = field(default_factory=dict)
    configs: dict[str, Config] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).absolute()
        self.task = task_of(self.config)
        self.refused: set[str] = set()
        self.twins: dict[str, str] = {}
        self.chosen: dict[str, float | None] = {}
        self.runs: dict[tuple[str, int], Experiment] = {}
        self._contexts: dict[Path, Context] = {}
        self._check()

    def prepare(self) -> None:
        """Derive the configs of all methods, each with its default; what cannot be is refused.

        Raises:
            ValueError: if none is left.
            OSError: if the folder cannot be written.
        """
        self._derive_all(dict.fromkeys(self.names))

    def run(self) -> list[Result]:
        """Spend the trials, then train and evaluate all; what is done already is found.

        Raises:
            ValueError: if the folder holds runs of another config.
        """
        if self.trials:
            self._derive_all(self._tune())
        self._find_twins()
        experiments = self._experiments(self.folder, self.configs, self.chosen, self.seeds)
        self.say(f'{len(experiments)} runs in {self.folder / "runs"}')
        names = {folder_name(name, self.chosen[name]): name for name in self.configs}
        self.runs = {(names[one.name], one.seed): one for one in experiments}
        done = run_all(experiments, self.jobs, True, self.devices, self._failed)
        found = {(names[result.method], result.seed): result for result in done}
        for name in self.configs:
            for seed in self.seeds:
                run = self.twins.get(name, name), seed
                self.runs[name, seed] = self.runs[run]
                if run in found:
                    self.results.append(replace(found[run], method=name))
        return self.results

    @property
    def labels(self) -> dict[str, str]:
        """Methods with a result, to their names in tables."""
        done = {result.method for result in self.results}
        return {name: VARIANTS[name].label for name in self.names if name in done}

    def _check(self) -> None:
        for key in ('train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg'):
            if not self.config.get(key):
                what = {'train_dataloader': 'training set', 'train_cfg': 'training loop'}
                raise ValueError(
                    f'the config has no {key}, so there is no '
                    f'{what.get(key, "validation set to compare on")}; give one.'
                )
        is_by_epoch(self.config)
        if self.budget is not None and self.budget < 1:
            raise ValueError(f'the budget is {self.budget} iterations; give 1 or more.')
        if not self.seeds:
            raise ValueError('there are 0 seeds; give 1 or more.')
        if not 0 <= self.trials <= _MOST_TRIALS:
            raise ValueError(
                f'{self.trials} trials a method are wanted; give 0, for none, to {_MOST_TRIALS}.'
            )
        if self.tuning and not self.trials:
            raise ValueError(
                f'settings for trials are given ({", ".join(self.tuning)}) and no trials; say how '
                'many each method has.'
            )
        given = {name: method_name(name, self.task) for name in self.names}
        for name, meant in given.items():
            if name != meant:
                self.say(f'{name} is {meant} for {self.task}: {VARIANTS[meant].label}')
        names = list(dict.fromkeys(given.values()))
        added = [name for name in ALWAYS if name not in names]
        if any(VARIANTS[name].evaluates == 'ce' for name in (*names, *added)) and 'ce' not in names:
            added.insert(0, 'ce')
        if added:
            self.say(f'added, as no comparison is without them: {", ".join(added)}')
        self.names = [*names, *added]

    def _derive_all(self, chosen: Mapping[str, float | None]) -> None:
        """The configs of all methods with these values; refused ones are named."""
        context = self._context(self.folder, self.config)
        prepared = prepare(self.config, context, self.budget)
        self.diffs = {'all': config_diff(self.config.to_dict(), prepared.to_dict())}
        self.configs, self.chosen = {}, chosen
        for name in chosen:
            if name in self.refused:
                continue
            try:
                config = derive(prepared, name, context, chosen[name])
                check_model(config)
            except ValueError as error:
                self._refuse(name, str(error))
                continue
            self.configs[name] = config
            self.diffs[name] = config_diff(prepared.to_dict(), config.to_dict())
        for name in list(self.configs):
            needed = VARIANTS[name].evaluates
            if needed and needed not in self.configs:
                self._refuse(name, f'it evaluates the runs of {needed}, of which there are none')
                del self.configs[name]
        if not self.configs:
            reasons = '; '.join(f'{name}: {why}' for name, why in self.failures.items())
            raise ValueError(f'none of the methods fits the config: {reasons}')

    def _refuse(self, name: str, reason: str) -> None:
        self.refused.add(name)
        self.failures[name] = f'refused: {reason}'
        self.say(f'{name} is refused: {reason}')

    def _context(self, folder: Path, config: Config) -> Context:
        """Count the training set, once for all methods."""
        if folder not in self._contexts:
            cache = self.folder / 'class_counts'
            path = folder / 'class_counts.json'
            init_default_scope(config.get('default_scope') or 'mmengine')
            dataset = DATASETS.build(deepcopy(config.train_dataloader.dataset))
            given = next((h for h in _hooks(config) if type_name(h) == 'ClassCountsHook'), {})
            counts = given.get('class_counts')
            if counts is None or folder != self.folder:
                workers = config.train_dataloader.get('num_workers', 0)
                counts = count_samples(dataset, cache, workers).class_counts(given.get('unit'))
            else:
                unit = 'pixels' if self.task == SEGMENTATION else 'images'
                counts = ClassCounts.of(counts, unit=given.get('unit') or unit)
            if counts.counts.sum() == 0:
                raise ValueError('the training set of the config has no labelled sample.')
            counts.save(path)
            length = _epoch_length(dataset, config.train_dataloader)
            self._contexts[folder] = Context(str(path), str(cache), length)
        return self._contexts[folder]

    def _find_twins(self) -> None:
        """Methods that come to the very same config are trained once."""
        texts: dict[str, str] = {}
        for name, config in self.configs.items():
            if VARIANTS[name].evaluates:
                continue
            text = repr(config.to_dict())
            twin = texts.setdefault(text, name)
            if twin != name:
                self.twins[name] = twin
                self.say(f'{name} comes to the same config as {twin} and is trained once')

    def _experiments(
        self,
        folder: Path,
        configs: Mapping[str, Config],
        values: Mapping[str, float | None],
        seeds: Sequence[int],
    ) -> list[Experiment]:
        """Runs of methods, whose configs are written to where tools/train.py can take them."""
        experiments = []
        for seed in seeds:
            for name, config in configs.items():
                title = folder_name(name, values[name])
                path = folder / 'configs' / f'{title}.py'
                if seed == seeds[0]:
                    write_config(config, path, folder / 'runs' / title)
                if name in self.twins:
                    continue
                needed = VARIANTS[name].evaluates
                evaluates = needed and folder_name(needed, self.chosen[needed])
                loop = 'test' if needed else 'val'
                experiments.append(
                    Experiment(
                        title,
                        Method(VARIANTS[name].label, str(path), evaluates=evaluates),
                        seed,
                        folder / 'runs',
                        epochs=config.train_cfg.get('max_epochs'),
                        files=((f'{loop}_evaluator.0.output_csv', 'per_class.csv'),),
                    )
                )
        return experiments

    def _failed(self, experiment: Experiment, error: Exception) -> None:
        self.failures[str(experiment)] = str(error)
        self.say(f'{experiment} failed: {error}')

    def _tuned_on(self) -> Config:
        """The config with which trials are made.

        Raises:
            ValueError: if it has what is reported as its tuning split.
            FileNotFoundError: if that split is missing.
        """
        if not self.tuning:
            return hold_out(self.config)
        config = deepcopy(self.config)
        config.merge_from_dict(dict(self.tuning))
        if config.val_dataloader.dataset == self.config.val_dataloader.dataset:
            raise ValueError(
                f'{", ".join(self.tuning)} leave val_dataloader.dataset as it is, so trials would '
                'be chosen on what is reported; name another split.'
            )
        check_dataset_paths(config, ('val_dataloader',))
        return config

    def _tune(self) -> dict[str, float | None]:
        """Spend the trials on what is kept for them; the value that did best.

        All trials have the first seed.
        """
        folder = self.folder / 'tuning'
        config = self._tuned_on()
        context = self._context(folder, config)
        prepared = prepare(config, context, self.budget)
        chosen: dict[str, float | None] = {}
        # What only evaluates others comes after these were chosen.
        for wants in (False, True):
            todo: dict[str, tuple[str, float, Config]] = {}
            for name in self.configs:
                needed = VARIANTS[name].evaluates
                if bool(needed) is not wants or name in self.refused:
                    continue
                if needed and needed not in chosen:
                    self._refuse(name, f'it evaluates the trials of {needed}, and there are none')
                    continue
                for value in VARIANTS[name].values[self.task][: self.trials]:
                    derived = derive(prepared, name, context, value)
                    todo[folder_name(name, value)] = name, value, derived
            self.chosen = chosen
            experiments = [
                one
                for name, value, derived in todo.values()
                for one in self._experiments(folder, {name: derived}, {name: value}, self.seeds[:1])
            ]
            if not wants:
                split = 'the tuning split' if self.tuning else 'a held-out part of the training set'
                self.say(f'{len(experiments)} trials, each on {split}')
            done = run_all(experiments, self.jobs, True, self.devices, self._failed)
            scores = {r.method: r.metrics.get(CHOSEN_BY[self.task], math.nan) for r in done}
            for title, (name, value, _) in todo.items():
                score = scores.get(title, math.nan)
                self.tried.append(Trial(name, VARIANTS[name].tuned, value, score))
            for name in dict.fromkeys(name for name, *_ in todo.values()):
                own = [t for t in self.tried if t.method == name and not math.isnan(t.score)]
                if not own:
                    self._refuse(name, 'none of its trials has come to a score')
                    continue
                best = max(own, key=lambda trial: trial.score)
                chosen[name] = best.value
                self.say(f'{name}: {best.parameter} = {best.value:g} of {len(own)} trials')
        return {name: chosen[name] for name in self.configs if name in chosen}


def folder_name(name: str, value: float | None) -> str:
    """What the runs of a method with a value of its hyper-parameter are called."""
    return name if value is None else f'{name}_{VARIANTS[name].tuned}{value:.6g}'


def prepare(config: Config, context: Context, budget: int | None) -> Config:
    """What all methods have in common: the budget, class counts, and figures of rare classes.

    Args:
        config: left as it is.
        context: of the data.
        budget: iterations; None leaves the schedule.
    """
    if budget is None:
        config = deepcopy(config)
    else:
        config = with_budget(config, budget, context.epoch_length)
        logger = config.default_hooks.logger
        logger.interval = max(1, min(logger.get('interval', 10), budget // 10))
    for key in ('work_dir', 'launcher', 'resume', 'variant'):
        config.pop(key, None)
    hook = dict(type='lt_mm.ClassCountsHook', class_counts=context.class_counts)
    others = [one for one in _hooks(config) if type_name(one) != 'ClassCountsHook']
    config.custom_hooks = [*others, ConfigDict(hook)]
    config.val_evaluator = _evaluators(config)
    config.val_cfg = config.get('val_cfg') or ConfigDict()
    for key in ('dataloader', 'evaluator', 'cfg'):
        # One set is reported, also for what is only evaluated.
        config[f'test_{key}'] = deepcopy(config[f'val_{key}'])
    if type_name(config.test_cfg) == 'ValLoop':
        config.test_cfg.type = 'TestLoop'
    return config


def hold_out(config: Config, share: float = HELD_OUT_SHARE, seed: int = 0) -> Config:
    """The config on a part of its training set, and validated on the rest of that.

    Args:
        config: left as it is.
        share: that is held out.
        seed: of the draw.
    """
    config = deepcopy(config)
    pipeline = next(walk_datasets(config.val_dataloader.dataset, ''))[1].get('pipeline')
    part = partial(dict, type='lt_mm.PartOfDataset', share=share, seed=seed)
    inner = [dataset for _, dataset in walk_datasets(config.train_dataloader.dataset, '')]
    held_out = [
        ConfigDict(part(part='held_out', dataset=ConfigDict(one, pipeline=deepcopy(pipeline))))
        for one in deepcopy(inner)
    ]
    # Where a config has one twice, that is one object.
    for one in {id(one): one for one in inner}.values():
        # In place, below whatever wrappers it has.
        whole = ConfigDict(one)
        one.clear()
        one.update(ConfigDict(part(part='training', dataset=whole)))
    several = ConfigDict(type='ConcatDataset', datasets=held_out)
    config.val_dataloader.dataset = held_out[0] if len(held_out) == 1 else several
    return config


def write_config(config: Config, path: Path, runs: Path) -> None:
    """Write a config as Python, unless it is there already.

    Args:
        config: of a method.
        path: of the file.
        runs: folder of the runs by it.

    Raises:
        ValueError: if there are runs of another config.
    """
    wanted = Config.fromstring(config.pretty_text, '.py')
    if path.is_file():
        difference = first_difference(Config.fromfile(path).to_dict(), wanted.to_dict())
        if difference is None:
            return
        if any(runs.glob('*/result.json')):
            key, old, new = difference
            raise ValueError(
                f'{runs} holds runs with {key}={old}, and {new} is now wanted; restore the '
                'setting, choose another --work-dir, or delete that folder.'
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config.pretty_text)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other comparison run in a folder, which is made.

    Raises:
        BlockingIOError: if there is one.
        OSError: if the folder cannot be written.
    """
    check_writable(folder, '--work-dir')
    # The lock goes with the process, however that ends.
    with (folder / '.lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                error.errno, f'another comparison runs in {folder}; wait for it, or choose another '
                '--work-dir'
            ) from error  # fmt: skip
        yield


def _hooks(config: Config) -> list[Any]:
    return list(config.get('custom_hooks') or ())


def _epoch_length(dataset: Dataset, loader: Mapping) -> int:
    batches = len(dataset) / loader.get('batch_size', 1)
    return max(1, int(batches) if loader.get('drop_last') else math.ceil(batches))


def _evaluators(config: Config) -> list[ConfigDict]:
    """Those of the validation, the one with figures of rare classes first."""
    given = config.val_evaluator
    given = [ConfigDict(one) for one in (given if isinstance(given, Sequence) else [given])]
    if task_of(config) == SEGMENTATION:
        plain, own = 'IoUMetric', 'LongTailIoUMetric'
        first = next((one for one in given if type_name(one) in (plain, own)), None)
        others = [one for one in given if one is not first]
        first = ConfigDict(first or {}, type=f'lt_mm.{own}')
        wanted = first.get('iou_metrics') or ['mIoU']
        first.iou_metrics = [*dict.fromkeys(['mIoU', *wanted])]
        return [first, *others]
    plain, own = 'Accuracy', 'LongTailAccuracy'
    first = next((one for one in given if type_name(one) in (plain, own)), ConfigDict())
    others = [one for one in given if type_name(one) not in (plain, own)]
    kept = {key: value for key, value in first.items() if type_name(first) == own and key != 'type'}
    first = ConfigDict({'type': f'lt_mm.{own}', **kept})
    if not any(type_name(one) == 'CalibrationError' for one in others):
        others.append(ConfigDict(type='lt_mm.CalibrationError'))
    return [first, *others]
