"""The alpha sweep of a config and its checkpoint: one pass over the validation set, or two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Subset

from lt_mm.analysis.alpha_sweep import (
    CHOOSE,
    REPORT,
    AlphaSweep,
    TrainedAlpha,
    alpha_offsets,
    prior_offset,
    trained_alpha,
)
from lt_mm.analysis.inputs import build_dataset, check_weights, validate_as_test
from lt_mm.checkpoints import load_weights
from lt_mm.datasets.class_counting import count_samples
from lt_mm.engine.distributed import build_runner, unwrapped
from lt_mm.evaluation.per_class import log
from lt_mm.functional.post_compensation import NEVER
from lt_mm.functional.prior_shift import estimate_prior, fit_calibration, fit_class_offsets
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.structures import ClassCounts, ClassGroups

_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class SweepSettings:
    """What a sweep is asked for.

    Args:
        alphas: strengths of the adjustment, rising.
        trained_alpha: that the model was trained with; None to read it from the model.
        class_counts: of the training: a name or a path; None to take those of the checkpoint or,
            failing that, to count the training set of the config.
        target_prior: counts or probabilities to predict for; a name or a path.
        fit_offsets: whether to fit an offset for each class.
        strength: of the regularisation of these.
        monotone: whether a rarer class is never given less.
        estimate_prior: whether to estimate the prior of the reported half by EM, without labels.
        choose_by: figure that the alpha is chosen by; None for mIoU or macro.
        seed: of the halves and of the bootstrap.
        bootstrap: replicates.
    """

    alphas: tuple[float, ...]
    trained_alpha: float | None = None
    class_counts: str | None = None
    target_prior: str | None = None
    fit_offsets: bool = False
    strength: float = 0.01
    monotone: bool = True
    estimate_prior: bool = False
    choose_by: str | None = None
    seed: int = 0
    bootstrap: int = 200


@dataclass
class SweepResult:
    """What a sweep found."""

    trained: TrainedAlpha
    counts: ClassCounts
    counts_source: str
    rows: list[str]
    """An alpha, or 'target'."""
    whole: dict[str, np.ndarray]
    """Figures of all images, (R,) each."""
    halves: list[dict[str, np.ndarray]]
    """Those of the half to choose by and of the half that is reported."""
    choose_by: str
    chosen: float
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    """Of each way to adjust: figures of the reported half, gain and its interval."""
    images: tuple[int, int] = (0, 0)
    offsets: dict[str, Tensor] = field(default_factory=dict)
    """(C,), of what was fitted or estimated."""
    priors: dict[str, Tensor] = field(default_factory=dict)
    """(C,): 'estimated' and 'true' of the reported half."""


class _Prepare(Hook):
    """Start the metric when the weights are loaded and the averaged ones swapped in."""

    priority = 'VERY_LOW'

    def __init__(self, prepare: Any) -> None:
        self.prepare = prepare
        self.meta: Mapping = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what the checkpoint says beside the weights."""
        self.meta = checkpoint.get('meta') or {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Start the metric."""
        self.prepare(runner, self.meta)


def sweep(config: Config, checkpoint: str, settings: SweepSettings) -> SweepResult:
    """Run the validation set through a model and adjust its logits in all ways at once.

    Args:
        config: of the model, as :func:`~lt_mm.engine.launch.load_config` read it; changed in place.
        checkpoint: of the model.
        settings: what to do.

    Raises:
        ValueError: if the validation set is empty, counts are missing or do not fit, logits are not
            a number, or the alpha of the training is unknown.
    """
    ignore_index, groups = _evaluation(config)
    _validate_as_test(config, checkpoint)
    build_dataset(config.test_dataloader, 'validation')
    weights = load_weights(checkpoint)
    runner = build_runner(config, terse=True)
    check_weights(unwrapped(runner.model), weights, checkpoint)
    dataset = runner.test_loop.dataloader.dataset
    if len(dataset) < 2:
        raise ValueError(
            f'the validation set has {len(dataset)} images, but half of them choose and half '
            'report; give two or more.'
        )
    keep = settings.fit_offsets or settings.estimate_prior
    arguments = dict(seed=settings.seed, ignore_index=ignore_index, bootstrap=settings.bootstrap)
    metric = AlphaSweep(len(dataset), keep=keep, **arguments)
    run = _Sweep(settings, metric, groups)
    _replace_metric(runner, metric)
    prepare = _Prepare(run.prepare)
    runner.register_hook(prepare, priority='VERY_LOW')
    runner.test()
    result = run.result()
    extra = run.fitted(result)
    if extra:
        second = AlphaSweep(int((metric.half == REPORT).sum()), only_report=True, **arguments)
        present = alpha_offsets(run.log_prior, [run.trained.alpha, result.chosen], run.present)
        offsets = torch.stack([*present, *extra.values()])
        prepare.prepare = lambda *_: second.start(offsets)
        _replace_metric(runner, second)
        indices = (metric.half == REPORT).nonzero().flatten().tolist()
        loader = dict(config.test_dataloader)
        loader['dataset'] = Subset(dataset, indices)
        runner.test_loop.dataloader = Runner.build_dataloader(loader, seed=settings.seed)
        log(f'second pass, over the {len(indices)} images that report: {", ".join(extra)}')
        runner.test()
        run.compare(result, second, ['', '', *extra], skip=2)
        result.offsets = extra
    return result


class _Sweep:
    """State of one sweep between its passes."""

    def __init__(self, settings: SweepSettings, metric: AlphaSweep, groups: Any) -> None:
        self.settings = settings
        self.metric = metric
        self.rule = groups

    def prepare(self, runner: Runner, meta: Mapping) -> None:
        """Find the counts and the present alpha, and start the metric."""
        model = unwrapped(runner.model)
        settings = self.settings
        given = settings.trained_alpha
        self.trained = (
            trained_alpha(model) if given is None else TrainedAlpha(given, 'so it was given')
        )
        self.present = self.trained.alpha
        classes = (getattr(runner.test_loop.dataloader.dataset, 'metainfo', None) or {}).get(
            'classes'
        )
        self.counts, self.source = _class_counts(runner, model, meta, settings.class_counts)
        self.counts = self.counts.in_order_of(classes, 'the validation set')
        if classes:
            self.counts.validate(len(classes), 'the validation set')
        self.log_prior = self.counts.log_prior()
        log(f'class counts of the training: {self.source}')
        log(f'alpha of the model is {self.present:g}: {self.trained.reason}')
        alphas = sorted({*settings.alphas, self.present})
        self.alphas = alphas
        self.rows = [f'{alpha:g}' for alpha in alphas]
        offsets = alpha_offsets(self.log_prior, alphas, self.present)
        line = [list(range(len(alphas)))]
        if settings.target_prior is not None:
            target = ClassCounts.load(settings.target_prior)
            target = target.in_order_of(classes or self.counts.class_names, 'the validation set')
            target.validate(self.counts.num_classes, 'the validation set')
            prior = target.counts.double() / target.counts.sum()
            row = prior_offset(self.log_prior, prior, self.present)
            offsets = torch.cat([offsets, row[None]])
            self.rows.append('target')
        self.groups = self.rule.split(self.counts, self.counts.num_classes)
        self.metric.start(offsets, line)

    def result(self) -> SweepResult:
        """Choose on one half and compare on the other."""
        metric = self.metric
        by = self.settings.choose_by or ('mIoU' if metric.is_segmentation else 'macro')
        halves = [metric.figures(half, self.groups) for half in (CHOOSE, REPORT)]
        if by not in halves[0]:
            raise ValueError(
                f'there is no figure {by!r} to choose by; use one of {", ".join(halves[0])}.'
            )
        values = halves[CHOOSE][by][: len(self.alphas)]
        if np.isnan(values).all():
            raise ValueError(f'{by} is not a number on the half to choose by; give more images.')
        sign = -1 if by == 'ECE' else 1
        best = int(np.nanargmax(sign * values))
        result = SweepResult(
            trained=self.trained,
            counts=self.counts,
            counts_source=self.source,
            rows=self.rows,
            whole=metric.figures(None, self.groups),
            halves=halves,
            choose_by=by,
            chosen=self.alphas[best],
            images=tuple(int((metric.half == half).sum()) for half in (CHOOSE, REPORT)),
        )
        self.compare(result, metric, [*(f'alpha={row}' for row in self.rows[: len(self.alphas)]),
                                      *self.rows[len(self.alphas) :]], only=best)  # fmt: skip
        return result

    def compare(
        self,
        result: SweepResult,
        metric: AlphaSweep,
        names: Sequence[str],
        skip: int = 0,
        only: int | None = None,
    ) -> None:
        """Add rows of the reported half, each against the model as it is."""
        figures = metric.figures(REPORT, self.groups)
        drawn = metric.replicated(self.groups)
        base = 0 if skip else self.alphas.index(self.present)
        wanted = range(skip, len(names))
        if only is not None:
            wanted = [base, only, *range(len(self.alphas), len(names))]
        for row in dict.fromkeys(wanted):
            gains = {}
            for name in drawn:
                gains_drawn = drawn[name][:, row] - drawn[name][:, base]
                known = gains_drawn[~np.isnan(gains_drawn)]
                low, high = np.percentile(known, _INTERVAL) if len(known) else (np.nan, np.nan)
                gain = figures[name][row] - figures[name][base]
                gains[name] = dict(gain=float(gain), low=float(low), high=float(high))
            result.comparisons.append(
                dict(
                    name=names[row],
                    figures={name: float(values[row]) for name, values in figures.items()},
                    gains={} if row == base else gains,
                )
            )

    def fitted(self, result: SweepResult) -> dict[str, Tensor]:
        """(C,) offsets that are fitted to the chosen half, or to the other one's scores."""
        settings, found = self.settings, {}
        if settings.fit_offsets:
            kept = self.metric.kept(CHOOSE)
            start = alpha_offsets(self.log_prior, [result.chosen], self.present)[0]
            found['fitted'] = fit_class_offsets(
                kept.logits,
                kept.labels,
                kept.weights,
                self.log_prior,
                start,
                'iou' if self.metric.is_segmentation else 'accuracy',
                settings.strength,
                settings.monotone and result.chosen >= self.present,
            ).float()
        if settings.estimate_prior:
            kept = self.metric.kept(REPORT)
            # The prior that the scores belong to: that of the training, as far as it is in them.
            seen = self.log_prior.isfinite()
            prior = self.log_prior.double().masked_fill(~seen, 0) * (1 - self.present)
            prior = prior.masked_fill(~seen, -torch.inf).softmax(dim=0)
            # EM takes confidence at its word, so that scores are first made those of the labels of
            # the other half.
            calibrating = self.metric.kept(CHOOSE)
            labels = self.metric.labelled[CHOOSE].double() + 1
            labels = (labels * seen) / (labels * seen).sum()
            ratio = labels.log() - prior.log()
            ratio = ratio.masked_fill(~seen, NEVER)
            temperature, bias = fit_calibration(*calibrating, ratio)
            probabilities = (kept.logits.double() / temperature + bias + ratio).softmax(dim=1)
            estimate = estimate_prior(probabilities, labels)
            labelled = self.metric.labelled[REPORT].double()
            result.priors = dict(estimated=estimate, true=labelled / labelled.sum())
            row = prior_offset(self.log_prior, estimate, self.present)
            found['em'] = (temperature * (row + bias)).masked_fill(row <= NEVER, NEVER)
        return found


def _evaluation(config: Config) -> tuple[int, ClassGroups]:
    """``ignore_index`` and groups of the metrics of a config."""
    metrics = config.get('val_evaluator') or config.get('test_evaluator') or []
    metrics = [metrics] if isinstance(metrics, Mapping) else list(metrics)
    ignore_index, groups = 255, None
    for metric in metrics:
        ignore_index = metric.get('ignore_index', ignore_index)
        groups = metric.get('groups', groups)
    unit = 'images' if config.get('default_scope') == 'mmpretrain' else 'pixels'
    return ignore_index, ClassGroups.of(groups, unit)


def _validate_as_test(config: Config, checkpoint: str) -> None:
    """Let ``Runner.test`` run the validation set through the model of a checkpoint."""
    validate_as_test(config)
    config.test_cfg = config.get('test_cfg') or dict()
    config.load_from = str(checkpoint)


def _replace_metric(runner: Runner, metric: AlphaSweep) -> None:
    runner.test_evaluator.metrics = [metric]


def _class_counts(
    runner: Runner, model: torch.nn.Module, meta: Mapping, given: str | None
) -> tuple[ClassCounts, str]:
    """Counts of the training, and where they are from."""
    if given is not None:
        return ClassCounts.load(given), given
    for path, part in model.named_modules():
        if isinstance(part, ClassCountsBuffer) and part.is_set:
            prior = None
            counts = ClassCounts(part.counts)
            if not torch.equal(counts.log_prior(), part.log_prior.cpu()):
                prior = part.log_prior.double().exp().cpu()
            return counts.with_prior(prior), f'the checkpoint ({path})'
    if meta.get('class_counts') is not None:
        names = (meta.get('dataset_meta') or {}).get('classes')
        numbers = meta['class_counts']
        names = names if names and len(names) == len(numbers) else None
        return ClassCounts(numbers, names), 'the checkpoint (meta)'
    loader = runner.cfg.get('train_dataloader')
    if loader is None:
        raise ValueError(
            'neither the checkpoint nor --class-counts tells the class counts of the training, and '
            'the config has no train_dataloader to count; give --class-counts NAME or PATH.'
        )
    folder = Path(runner.work_dir).parent / 'class_counts'
    workers = loader.get('num_workers', 0)
    counted = count_samples(DATASETS.build(loader['dataset']), folder, workers)
    return counted.class_counts(None), 'counted in the training set of the config'
