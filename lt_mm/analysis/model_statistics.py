"""Sums over the validation set from which a diagnosis tells where a model fails.

Memory does not depend on the number of images: sums are by class, by pair of classes, by bin of
confidence and by bin of region sizes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor
from torch.nn import functional as F

from lt_mm.analysis.feature_norms import FeatureNorms
from lt_mm.datasets.regions import SIZE_BINS, label_regions, size_bin
from lt_mm.functional.calibration import equal_width_bins, expected_calibration_error

NUM_BINS = 15
BAND = 0.005
"""Half the width of the band along boundaries, as a share of the image's diagonal."""
FOUND = 0.5
"""A region is found if this share of its pixels is predicted right."""
# Scores looked at together: few enough for the cache of a CPU.
_AT_ONCE = 2**21


class ModelStatistics(BaseMetric):
    """Collect what :func:`model_statistics` tells of a model.

    Images have to come in the order of the data set, in one process.

    Args:
        num_classes: C.
        is_segmentation: whether pixels are classified, or images.
        ignore_index: label of pixels to leave out.
        features: norms of features; None where they are unknown.

    Attributes:
        confusion: (C, C) int64, labels by predictions; (C, C) int32 of images.
        calibration: (3, C, NUM_BINS) float64 by label: elements, their confidences, hits.
        boundary: (2, C, 2) float64 by label: pixels and wrong ones, in the band and inside.
        regions: (4, C, SIZE_BINS) float64 by label: regions, regions found, pixels, right pixels.
        norms: (2, C) float64 by label: elements with a known norm, sum of norms.
        examples: of each pair (label, prediction), how wrong the worst image is and its index.
    """

    default_prefix = 'diagnosis'

    def __init__(
        self,
        num_classes: int,
        is_segmentation: bool,
        ignore_index: int = 255,
        features: FeatureNorms | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.is_segmentation = is_segmentation
        self.ignore_index = ignore_index
        self.features = features
        dtype = np.int64 if is_segmentation else np.int32
        self.confusion = np.zeros((num_classes, num_classes), dtype)
        self.calibration = np.zeros((3, num_classes, NUM_BINS))
        self.boundary = np.zeros((2, num_classes, 2))
        self.regions = np.zeros((4, num_classes, SIZE_BINS))
        self.norms = np.zeros((2, num_classes))
        self.examples: dict[tuple[int, int], tuple[float, int]] = {}
        self.images = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            data_batch: not used.
            data_samples: outputs of the model, each with 'pred_score' (C,) and 'gt_label' (1,), or
                with 'seg_logits' (C, H, W), 'pred_sem_seg' and 'gt_sem_seg' (1, H, W).

        Raises:
            ValueError: if a sample lacks one of these, has a score that is not a number or a label
                that is no class.
        """
        norms = None if self.features is None else self.features.of_batch()
        if norms is not None and len(norms) != len(data_samples):
            norms = None
        add = self._add_map if self.is_segmentation else self._add_image
        for i, sample in enumerate(data_samples):
            add(sample, None if norms is None else norms[i])
            self.images += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing: the sums are read by :func:`model_statistics`."""
        return {}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Nothing, see :meth:`evaluate`."""
        return {}

    def _add_image(self, sample: dict, norm: Tensor | None) -> None:
        scores, label = sample.get('pred_score'), sample.get('gt_label')
        if scores is None or label is None or label.numel() != 1:
            raise ValueError(
                f'{_name(sample, self.images)} has no scores or not exactly one label: diagnose a '
                'classifier of a data set where each image has one class.'
            )
        _check_scores(scores, sample, self.images)
        label = self._checked_label(int(label), sample)
        confidence, prediction = scores.double().max(dim=0)
        prediction = int(prediction)
        self.confusion[label, prediction] += 1
        if 0 <= confidence <= 1 + 1e-6:
            bin = int(equal_width_bins(confidence, NUM_BINS))
            self.calibration[:, label, bin] += 1, float(confidence), label == prediction
        if norm is not None and norm.ndim == 0:
            self.norms[:, label] += 1, float(norm)
        if label != prediction:
            self._note_example(label, prediction, float(confidence))

    def _add_map(self, sample: dict, norm: Tensor | None) -> None:
        missing = [k for k in ('seg_logits', 'pred_sem_seg', 'gt_sem_seg') if k not in sample]
        if missing:
            raise ValueError(
                f'{_name(sample, self.images)} has no {" and ".join(missing)}: diagnose a '
                'segmentor, with LoadAnnotations in the pipeline of the validation set.'
            )
        scores = sample['seg_logits']['data']
        prediction = sample['pred_sem_seg']['data'].squeeze(0).long()
        labels = sample['gt_sem_seg']['data'].squeeze(0).long().to(prediction.device)
        if labels.shape != prediction.shape:
            raise ValueError(
                f'{_name(sample, self.images)} is predicted as {tuple(prediction.shape)} pixels '
                f'and labelled in {tuple(labels.shape)}: load annotations after Resize in the '
                'pipeline of the validation set.'
            )
        confidence = _confidences(scores, prediction)
        # Of an image of which one score is NaN, it is too, and there are fewer of them.
        _check_scores(confidence, sample, self.images)
        known = labels != self.ignore_index
        inside = labels[known]
        if not len(inside):
            return
        for label in (inside.min(), inside.max()):
            self._checked_label(int(label), sample)
        confusion = self._sum(inside * self.num_classes + prediction[known], self.num_classes**2)
        confusion = confusion.reshape(self.num_classes, -1).astype(np.int64)
        self.confusion += confusion
        for label, predicted in zip(*np.nonzero(confusion), strict=True):
            if label != predicted:
                self._note_example(int(label), int(predicted), float(confusion[label, predicted]))
        wrong = prediction != labels
        confidence = confidence[known]
        cell = inside * NUM_BINS + equal_width_bins(confidence, NUM_BINS)
        weights = (None, confidence.double(), (~wrong[known]).double())
        for row, weight in enumerate(weights):
            self.calibration[row] += self._sum(cell, self.calibration[row].size, weight).reshape(
                self.num_classes, NUM_BINS
            )
        cell = inside * 2 + (~boundary_band(labels))[known]
        for row, weight in enumerate((None, wrong[known].double())):
            self.boundary[row] += self._sum(cell, self.num_classes * 2, weight).reshape(-1, 2)
        self._add_regions(torch.where(known, labels, -1), ~wrong)
        if norm is not None:
            norm = _as_predicted(norm, sample, labels.shape)
            self.norms[0] += self._sum(inside, self.num_classes)
            self.norms[1] += self._sum(inside, self.num_classes, norm[known].double())

    def _add_regions(self, labels: Tensor, right: Tensor) -> None:
        regions, classes = label_regions(labels.cpu().numpy())
        number = len(classes) + 1
        areas = np.bincount(regions.ravel(), minlength=number)[1:]
        hits = np.bincount(regions.ravel(), right.cpu().numpy().ravel(), minlength=number)[1:]
        cell = classes * SIZE_BINS + size_bin(areas)
        for row, weight in enumerate((None, hits >= FOUND * areas, areas, hits)):
            self.regions[row] += np.bincount(
                cell, weight, minlength=self.regions[row].size
            ).reshape(-1, SIZE_BINS)

    def _checked_label(self, label: int, sample: dict) -> int:
        if not 0 <= label < self.num_classes:
            raise ValueError(
                f'{_name(sample, self.images)} has label {label}, which is none of the '
                f'{self.num_classes} classes: check the class names, reduce_zero_label and '
                'ignore_index of the validation set.'
            )
        return label

    def _note_example(self, label: int, prediction: int, amount: float) -> None:
        if amount > self.examples.get((label, prediction), (0.0, 0))[0]:
            self.examples[label, prediction] = amount, self.images

    @staticmethod
    def _sum(cell: Tensor, size: int, weight: Tensor | None = None) -> np.ndarray:
        ones = torch.ones_like(cell, dtype=torch.float64) if weight is None else weight
        # bincount with weights is refused on GPUs by torch.use_deterministic_algorithms.
        return ones.new_zeros(size).index_add_(0, cell, ones).cpu().numpy()


def boundary_band(labels: Tensor) -> Tensor:
    """Which pixels have one of another label near by.

    Near is within ``BAND`` of the diagonal of the image, at least a pixel, along rows and columns.
    Pixels to ignore are of another label than any class.

    Args:
        labels: (H, W) integers.

    Returns:
        (H, W) bool.
    """
    radius = max(1, round(BAND * math.hypot(*labels.shape)))
    # One after the other along rows and columns is the same as in the square, and quicker.
    highest, lowest = labels[None].float(), -labels[None].float()
    for kernel, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        highest = F.max_pool2d(highest, kernel, 1, padding)
        lowest = F.max_pool2d(lowest, kernel, 1, padding)
    return (highest != -lowest)[0]


def _confidences(scores: Tensor, prediction: Tensor) -> Tensor:
    """(H, W) probabilities of the predicted classes; of one output, it is that of class 1."""
    if len(scores) == 1:
        return torch.where(prediction > 0, scores[0], 1 - scores[0]).float()
    rows = max(1, _AT_ONCE // (scores.shape[0] * scores.shape[2]))
    parts = []
    for part in scores.split(rows, dim=1):
        part = part.float()
        parts.append(1 / (part - part.amax(dim=0)).exp_().sum(dim=0))
    return torch.cat(parts)


def _as_predicted(norm: Tensor, sample: dict, size: Sequence[int]) -> Tensor:
    """Norms of the padded input at the pixels of the original image, as mmseg does with logits."""
    left, right, top, bottom = sample.get('img_padding_size', sample.get('padding_size')) or [0] * 4
    norm = norm[top : norm.shape[0] - bottom, left : norm.shape[1] - right]
    if sample.get('flip'):
        norm = norm.flip(dims=(1 if sample.get('flip_direction') == 'horizontal' else 0,))
    return F.interpolate(norm[None, None], tuple(size), mode='bilinear')[0, 0]


def _check_scores(scores: Tensor, sample: dict, index: int) -> None:
    if torch.isnan(scores).any():
        raise ValueError(
            f'{_name(sample, index)} gets scores from the model that are not a number (NaN): look '
            'for NaN in the weights of the checkpoint, or overflow in half precision.'
        )


def _name(sample: dict, index: int) -> str:
    return f"'{sample.get('img_path') or f'image {index} of the validation set'}'"


def model_statistics(
    sums: ModelStatistics, groups: Mapping[str, Tensor], most: int = 20
) -> dict[str, Any]:
    """What the sums tell.

    Shares are from 0 to 1, and None where there is nothing to divide by. What is told of a group is
    the mean over its classes that were labelled, so that a large class does not hide a small one.

    Args:
        sums: of the whole validation set.
        groups: names of groups to indices of their classes.
        most: how many of the worst pairs to name.

    Returns:
        ``scores`` (of segmentors mIoU, mAcc, aAcc; of classifiers accuracy and class_accuracy),
        ``per_class`` (lists of C numbers: labelled, predicted, accuracy, iou or precision,
        feature_norm), ``groups``, ``group_confusion``, ``worst_pairs``, ``calibration``,
        and of segmentors ``boundary`` and ``regions``.
    """
    confusion = sums.confusion.astype(np.float64)
    hits, labelled, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    accuracy = _divide(hits, labelled)
    per_class = dict(labelled=labelled, predicted=predicted, accuracy=accuracy)
    overall = float(hits.sum() / labelled.sum()) if labelled.sum() else math.nan
    if sums.is_segmentation:
        per_class['iou'] = _divide(hits, labelled + predicted - hits)
        scores = dict(mIoU=_mean(per_class['iou']), mAcc=_mean(accuracy), aAcc=overall)
    else:
        per_class['precision'] = _divide(hits, predicted)
        scores = dict(accuracy=overall, class_accuracy=_mean(accuracy))
    per_class['feature_norm'] = _divide(sums.norms[1], sums.norms[0])
    members = {name: classes.numpy() for name, classes in groups.items()}
    result = dict(
        images=sums.images,
        scores=scores,
        per_class={name: values.tolist() for name, values in per_class.items()},
        groups={
            name: dict(
                classes=len(of),
                labelled=labelled[of].sum(),
                predicted=predicted[of].sum(),
                **{
                    what: _mean(per_class[what][of])
                    for what in ('accuracy', 'iou', 'precision')
                    if what in per_class
                },
            )
            for name, of in members.items()
        },
        group_confusion=_group_confusion(confusion, members),
        worst_pairs=worst_pairs(sums.confusion, most),
        calibration=dict(
            overall=_calibration(sums.calibration.sum(1)),
            groups={
                name: _calibration(sums.calibration[:, of].sum(1)) for name, of in members.items()
            },
        ),
    )
    if sums.is_segmentation:
        everything = {'all classes': np.arange(sums.num_classes), **members}
        result['boundary'] = {
            name: _boundary(sums.boundary[:, of].sum(1)) for name, of in everything.items()
        }
        result['regions'] = {
            name: _regions(sums.regions[:, of].sum(1)) for name, of in everything.items()
        }
    return result


def worst_pairs(confusion: np.ndarray, most: int) -> list[dict[str, Any]]:
    """Which classes are taken for which others.

    Pairs are ranked by what they cost in mean accuracy over classes: the share of the label's
    elements. Of equal shares, the one of more elements comes first.

    Args:
        confusion: (C, C), labels by predictions.
        most: how many pairs to name.

    Returns:
        ``label``, ``predicted``, ``number`` of elements, ``share`` of the label's.
    """
    labels, predicted = np.nonzero(confusion)
    wrong = labels != predicted
    labels, predicted = labels[wrong], predicted[wrong]
    number = confusion[labels, predicted]
    share = number / confusion.sum(axis=1, dtype=np.float64)[labels]
    order = np.lexsort((-number, -share))[:most]
    return [
        dict(
            label=int(labels[i]),
            predicted=int(predicted[i]),
            number=int(number[i]),
            share=float(share[i]),
        )
        for i in order
    ]


def _group_confusion(confusion: np.ndarray, members: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of the elements of a group's classes, the share that is right, and wrong in each group."""
    labelled = confusion.sum(axis=1)
    shares = _divide(confusion, labelled[:, None])
    own = shares.diagonal()
    rows = {}
    for name, of in members.items():
        of = of[labelled[of] > 0]
        row = {'right': _mean(own[of])}
        for other, columns in members.items():
            wrong = shares[np.ix_(of, columns)].sum(axis=1) - own[of] * np.isin(of, columns)
            row[other] = _mean(wrong)
        rows[name] = row
    return rows


def _calibration(bins: np.ndarray) -> dict[str, Any]:
    counts, confidences, hits = bins
    number = counts.sum()
    ece = expected_calibration_error(*map(torch.from_numpy, (counts, confidences, hits)))
    return dict(
        number=number,
        ECE=float(ece),
        confidence=confidences.sum() / number if number else math.nan,
        accuracy=hits.sum() / number if number else math.nan,
        bins=dict(
            number=counts.tolist(),
            confidence=_divide(confidences, counts).tolist(),
            accuracy=_divide(hits, counts).tolist(),
        ),
    )


def _boundary(sums: np.ndarray) -> dict[str, float]:
    pixels, wrong = sums
    error = _divide(wrong, pixels)
    return dict(
        boundary_error=error[0],
        interior_error=error[1],
        boundary_share=float(_divide(pixels[0], pixels.sum())),
        boundary_share_of_errors=float(_divide(wrong[0], wrong.sum())),
    )


def _regions(sums: np.ndarray) -> dict[str, list]:
    number, found, pixels, right = sums
    return dict(
        number=number.tolist(),
        found=_divide(found, number).tolist(),
        accuracy=_divide(right, pixels).tolist(),
    )


def _divide(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Quotients; NaN where there is nothing to divide by."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(np.asarray(under) > 0, over / np.asarray(under, np.float64), np.nan)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
