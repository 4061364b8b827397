"""How a trained model would do under other strengths of logit adjustment, all in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor, nn

from lt_mm.functional import equal_width_bins, expected_calibration_error, post_compensate
from lt_mm.functional.post_compensation import NEVER
from lt_mm.functional.prior_shift import line_predictions
from lt_mm.models.alpha import LogitAdjusted
from lt_mm.models.losses import HardCategoryLoss, LADELoss, PaCoLoss

CHOOSE, REPORT = 0, 1
_BINS = 15
# Of what is kept for the bootstrap, and of the scores that offsets are fitted to, in bytes.
_MEMORY = 2**28


class TrainedAlpha(NamedTuple):
    """The logit adjustment that is in the logits of a model already."""

    alpha: float
    reason: str
    """What it was read from, for a reader."""


def trained_alpha(model: nn.Module) -> TrainedAlpha:
    """The strength of logit adjustment that a model was trained and predicts with.

    Args:
        model: a segmentor of mmsegmentation or a classifier of mmpretrain.

    Raises:
        ValueError: if its losses have several, or it has no head.
    """
    head = getattr(model, 'decode_head', None)
    head = getattr(model, 'head', None) if head is None else head
    if head is None:
        raise ValueError(
            f'the model is a {type(model).__name__} without decode_head and head; give the alpha '
            'that it was trained with.'
        )
    # The last head of a cascade predicts.
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    found: dict[str, float] = {}
    for loss in _losses(head):
        alpha = 0.0
        if isinstance(loss, LogitAdjusted | HardCategoryLoss):
            alpha = float(loss.alpha)
        elif isinstance(loss, LADELoss | PaCoLoss):
            alpha = 1.0
        found[type(loss).__name__] = alpha
    if len(set(found.values())) > 1:
        losses = ', '.join(f'{name}: {alpha:g}' for name, alpha in found.items())
        raise ValueError(f'the losses have several alphas ({losses}); say which one to count from.')
    alpha = next(iter(found.values()), 0.0)
    names = ' and '.join(found) or 'no loss'
    how = 'adjusts the logits' if alpha else 'adjusts no logits'
    reason = f'its head was trained with {names}, which {how}'
    compensation = getattr(head, 'post_compensation', None)
    if compensation is not None:
        alpha += compensation.alpha
        reason += f', and post_compensation has alpha={compensation.alpha:g}'
    return TrainedAlpha(alpha, reason)


def _losses(head: nn.Module) -> Iterator[nn.Module]:
    """What the logits of a head, or of its experts, are trained with."""
    for part in head.modules():
        for name in ('loss_decode', 'loss_module'):
            loss = getattr(part, name, None)
            if loss is not None:
                yield from loss if isinstance(loss, nn.ModuleList) else [loss]


def alpha_offsets(log_prior: Tensor, alphas: Sequence[float], present: float) -> Tensor:
    """What to add to logits that have the adjustment ``present`` to have each of ``alphas``.

    Args:
        log_prior: (C,), of the training.
        alphas: A strengths.
        present: strength that the logits have.

    Returns:
        (A, C) float32; zeros where an alpha is the present one.
    """
    zeros = torch.zeros(1, len(log_prior))
    rows = [
        zeros if a == present else post_compensate(zeros, log_prior.cpu(), a - present)
        for a in alphas
    ]
    return torch.cat(rows)


def prior_offset(log_prior: Tensor, target: Tensor, present: float) -> Tensor:
    """What to add to logits with the adjustment ``present`` to predict for the prior ``target``.

    Args:
        log_prior: (C,), of the training.
        target: (C,) probabilities to predict for; a class of 0 is never predicted.
        present: strength of the adjustment that the logits have.

    Returns:
        (C,) float32.
    """
    full = alpha_offsets(log_prior, [1.0], present)[0] + target.log().float()
    absent = log_prior.cpu().isneginf() | (target == 0)
    return full.masked_fill(absent, NEVER)


class Kept(NamedTuple):
    """Scores of some elements, to fit to."""

    logits: Tensor
    """(N, C) float32."""
    labels: Tensor
    """(N,)."""
    weights: Tensor
    """(N,), how many elements each one stands for."""


class AlphaSweep(BaseMetric):
    """Per-class sums under many offsets of the logits, of one pass over a data set.

    Half of the images, drawn by ``seed``, is to choose by, the other half to report. Memory does
    not grow with the data set. One process only.

    Args:
        size: number of images of the data set.
        seed: of the halves, of the bootstrap and of what is kept.
        bootstrap: replicates of the reported half, made by Poisson weights of its images; fewer
            for many classes, that memory stays below 256 MiB.
        keep: whether scores of some elements are kept, see :meth:`kept`.
        only_report: whether all images are of the half that reports.
        ignore_index: label of pixels that do not count.
    """

    def __init__(
        self,
        size: int,
        seed: int = 0,
        bootstrap: int = 200,
        keep: bool = False,
        only_report: bool = False,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.size = size
        self.bootstrap = bootstrap
        self.keep = keep
        self.ignore_index = ignore_index
        self.generator = torch.Generator().manual_seed(seed)
        self.half = torch.full((size,), REPORT)
        if not only_report:
            chosen = torch.randperm(size, generator=self.generator)[: size // 2]
            self.half[chosen] = CHOOSE
        self.offsets: Tensor | None = None
        self._seen = 0

    def start(self, offsets: Tensor, lines: Sequence[Sequence[int]] = ()) -> None:
        """Say what is added to the logits, before the first batch.

        Args:
            offsets: (R, C).
            lines: rows that lie on a line, in its order, but for classes that some of them never
                predict; found faster.
        """
        rows, classes = offsets.shape
        on_lines = {row for line in lines for row in line}
        self.offsets = offsets.float()
        self.lines = [[row] for row in range(rows) if row not in on_lines]
        for line in lines:
            excluded = offsets[list(line)] <= NEVER
            for pattern in excluded.unique(dim=0):
                like = (excluded == pattern).all(dim=1).tolist()
                self.lines.append([row for row, same in zip(line, like, strict=True) if same])
        replicates = _MEMORY // (8 * 2 * rows * classes)
        self.replicates = max(20, min(self.bootstrap, replicates)) if self.bootstrap else 0
        self.hits = torch.zeros(2, rows, classes, dtype=torch.int64)
        self.predicted = torch.zeros_like(self.hits)
        self.labelled = torch.zeros(2, classes, dtype=torch.int64)
        self.drawn_hits = torch.zeros(self.replicates, rows, classes, dtype=torch.int64)
        self.drawn_predicted = torch.zeros_like(self.drawn_hits)
        self.drawn_labelled = torch.zeros(self.replicates, classes, dtype=torch.int64)
        self.bins = torch.zeros(2, rows, 3, _BINS, dtype=torch.float64)
        self.is_segmentation: bool | None = None
        self._kept: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {CHOOSE: [], REPORT: []}
        self._seen = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add the images of a batch.

        Args:
            data_batch: not used.
            data_samples: of mmsegmentation, with 'seg_logits' and 'gt_sem_seg', or of mmpretrain,
                with 'pred_score' and 'gt_label'.

        Raises:
            ValueError: if scores or labels are missing, not a number, or of other classes.
        """
        for sample in data_samples:
            scores, labels = self._scores(sample)
            name = sample.get('img_path', f'number {self._seen}')
            self._check(scores, labels, name)
            half = int(self.half[self._seen])
            self._seen += 1
            self._add(scores, labels, half)

    def _scores(self, sample: dict) -> tuple[Tensor, Tensor]:
        """(C, P) logits and (P,) labels of the labelled elements, -1 elsewhere."""
        if 'seg_logits' in sample and 'gt_sem_seg' in sample:
            self.is_segmentation = True
            logits = sample['seg_logits']['data']
            labels = sample['gt_sem_seg']['data'].squeeze(0).to(logits.device).long()
            if logits.shape[1:] != labels.shape:
                raise ValueError(
                    f'seg_logits are of {tuple(logits.shape[1:])} pixels and labels of '
                    f'{tuple(labels.shape)}: load annotations after Resize in the test pipeline.'
                )
            labels = labels.flatten()
            return logits.float().flatten(1), labels.masked_fill(labels == self.ignore_index, -1)
        if 'pred_score' in sample and sample.get('gt_label', torch.zeros(0)).numel() == 1:
            self.is_segmentation = False
            scores = sample['pred_score'].float()
            return scores.log()[:, None], sample['gt_label'].to(scores.device).long()
        raise ValueError(
            'a sample has neither seg_logits and gt_sem_seg nor pred_score and one gt_label: sweep '
            'a model that gives scores, on labelled images.'
        )

    def _check(self, logits: Tensor, labels: Tensor, name: str) -> None:
        classes = self.offsets.shape[1]
        if len(logits) != classes:
            raise ValueError(
                f'the model has {len(logits)} logits for {classes} classes (image {name}): a head '
                'with one logit has no offset for each class; give it out_channels=2.'
            )
        # The sum is not a number if one of them is not, and there is no other reason.
        if torch.isnan(logits.sum()):
            raise ValueError(f'image {name} has logits that are not a number: check the weights.')
        if labels.numel() and int(labels.max()) >= classes:
            raise ValueError(
                f'image {name} has the label {int(labels.max())}, but the model has {classes} '
                'classes: give the data set that it was trained for.'
            )

    def _add(self, logits: Tensor, labels: Tensor, half: int) -> None:
        offsets = self.offsets.to(logits.device)
        predictions = torch.empty(
            len(offsets), logits.shape[1], dtype=torch.int64, device=logits.device
        )
        for line in self.lines:
            predictions[line] = line_predictions(logits, offsets[line])
        valid = labels >= 0
        if not valid.all():
            predictions, labels = predictions[:, valid], labels[valid]
            places = valid.nonzero().flatten()
        else:
            places = torch.arange(len(labels), device=labels.device)
        hits, predicted, labelled = _tally(predictions, labels, offsets.shape[1])
        self.hits[half] += hits
        self.predicted[half] += predicted
        self.labelled[half] += labelled
        if half == REPORT and self.replicates:
            weights = torch.poisson(torch.ones(self.replicates), generator=self.generator).long()
            touched = (labelled + predicted.sum(dim=0)).nonzero().flatten()
            times = weights[:, None, None]
            self.drawn_hits[:, :, touched] += times * hits[:, touched]
            self.drawn_predicted[:, :, touched] += times * predicted[:, touched]
            self.drawn_labelled[:, touched] += weights[:, None] * labelled[touched]
        if not self.is_segmentation and len(labels):
            self._add_confidence(logits[:, places], labels, half)
        if self.keep and len(labels):
            self._keep(logits, labels, places, half)

    def _add_confidence(self, logits: Tensor, labels: Tensor, half: int) -> None:
        adjusted = (logits[:, 0] + self.offsets.to(logits.device)).softmax(dim=1)
        confidence, best = adjusted.max(dim=1)
        bins = equal_width_bins(confidence, _BINS).cpu()
        rows = torch.arange(len(bins))
        confidence, right = confidence.double().cpu(), (best == labels).double().cpu()
        self.bins[half, rows, 0, bins] += 1
        self.bins[half, rows, 1, bins] += confidence
        self.bins[half, rows, 2, bins] += right

    def _keep(self, logits: Tensor, labels: Tensor, places: Tensor, half: int) -> None:
        """Of the half to choose by, some of each class; of the other, some whatever their label."""
        budget = _MEMORY // (4 * len(logits)) // max(1, int((self.half == half).sum()))
        if half == REPORT:
            number = min(len(labels), max(1, min(budget, 256)))
            picked = torch.randperm(len(labels), generator=self.generator)[:number]
            weights = torch.full((number,), len(labels) / number)
        else:
            per_class = max(1, min(budget // 16, 64))
            picked, weights = [], []
            order = torch.randperm(len(labels), generator=self.generator)
            shuffled = labels.cpu()[order]
            for label in shuffled.unique():
                own = order[shuffled == label]
                picked.append(own[:per_class])
                share = len(own) / len(picked[-1])
                weights.append(torch.full((len(picked[-1]),), share))
            picked, weights = torch.cat(picked), torch.cat(weights)
        columns = places[picked.to(places.device)]
        self._kept[half].append(
            (logits[:, columns].T.cpu(), labels.cpu()[picked], weights)
        )  # fmt: skip

    def kept(self, half: int) -> Kept:
        """Scores that were kept.

        Args:
            half: ``CHOOSE``, where each class of an image has about as many, or ``REPORT``, where
                they are drawn without regard to their labels.
        """
        parts = self._kept[half]
        if not parts:
            classes = self.offsets.shape[1]
            empty = torch.zeros(0)
            return Kept(torch.zeros(0, classes), empty.long(), empty)
        return Kept(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def figures(self, half: int | None, groups: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Percentages of each row.

        Args:
            half: ``CHOOSE``, ``REPORT``, or None for all images. The IoU of a half is the mean over
                the classes that have labels there, the same ones in all rows; that of all images
                has 0 for a class that is predicted and has no label, as mmsegmentation counts.
            groups: name of each group to the indices of its classes.

        Returns:
            Names to (R,) arrays.
        """
        chosen = slice(None) if half is None else slice(half, half + 1)
        figures = self._figures(
            self.hits[chosen].sum(0),
            self.predicted[chosen].sum(0),
            self.labelled[chosen].sum(0),
            groups,
            only_labelled=half is not None,
        )
        if not self.is_segmentation:
            counts, confidences, hits = self.bins[chosen].sum(0).unbind(dim=1)
            figures['ECE'] = 100 * expected_calibration_error(counts, confidences, hits).numpy()
        return figures

    def replicated(self, groups: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """The figures of the reported half in each replicate, (B, R); without the ECE."""
        labelled = self.drawn_labelled[:, None]
        return self._figures(
            self.drawn_hits, self.drawn_predicted, labelled, groups, only_labelled=True
        )

    def _figures(
        self,
        hits: Tensor,
        predicted: Tensor,
        labelled: Tensor,
        groups: Mapping[str, Tensor],
        only_labelled: bool,
    ) -> dict[str, np.ndarray]:
        hits, predicted, labelled = (x.double() for x in (hits, predicted, labelled))
        right, elements = hits.sum(-1), labelled.sum(-1)
        accuracy = 100 * hits / labelled
        if not self.is_segmentation:
            figures = dict(top1=100 * right / elements, macro=accuracy.nanmean(-1))
            return _numpy(figures | {g: accuracy[..., c].nanmean(-1) for g, c in groups.items()})
        iou = 100 * hits / (predicted + labelled - hits)
        if only_labelled:
            # Else a rare class that the half lacks would enter the mean, as 0, with the first
            # pixel that a larger alpha gives it, and rows were means over different classes.
            iou = iou.masked_fill(labelled == 0, torch.nan)
        figures = dict(mIoU=iou.nanmean(-1), mAcc=accuracy.nanmean(-1), aAcc=100 * right / elements)
        figures |= {f'{group}_IoU': iou[..., c].nanmean(-1) for group, c in groups.items()}
        figures |= {f'{group}_Acc': accuracy[..., c].nanmean(-1) for group, c in groups.items()}
        return _numpy(figures)

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing for mmengine's log: the figures are asked for by :meth:`figures`."""
        return {}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Not used, since nothing is kept for each image."""
        return {}


def _tally(predictions: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hits (R, C), predicted (R, C) and labelled (C,) elements of (R, P) predictions."""
    rows = len(predictions)
    # Most elements are predicted alike in all rows.
    alike = (predictions == predictions[:1]).all(dim=0)
    common, labels_of_common = predictions[0, alike], labels[alike]
    hits = torch.bincount(common[common == labels_of_common], minlength=classes)
    predicted = torch.bincount(common, minlength=classes)
    rest, labels_of_rest = predictions[:, ~alike], labels[~alike]
    cells = rest + classes * torch.arange(rows, device=rest.device)[:, None]
    more = torch.bincount(cells.flatten(), minlength=rows * classes)
    more_hits = torch.bincount(cells[rest == labels_of_rest], minlength=rows * classes)
    hits = hits + more_hits.view(rows, classes)
    predicted = predicted + more.view(rows, classes)
    return hits.cpu(), predicted.cpu(), torch.bincount(labels, minlength=classes).cpu()


def _numpy(figures: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: values.numpy() for name, values in figures.items()}
