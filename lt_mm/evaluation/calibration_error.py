"""Calibration of classifiers and of segmentors: is 80 % sure right 80 times in a hundred?"""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from torch import Tensor

from lt_mm.evaluation.per_class import TrainingClasses, log
from lt_mm.evaluation.sample_scores import (
    ACTIVATIONS,
    check_sums,
    has_several_views,
    is_merged,
    of_classifier,
    of_segmentor,
    to_probabilities,
)
from lt_mm.functional.calibration import (
    CalibrationSums,
    calibration_sums,
    expected_calibration_error,
    maximum_calibration_error,
)
from lt_mm.registry import METRICS
from lt_mm.structures import ClassCounts, ClassGroups

# Numbers looked at together: on a CPU, 1 MiB in float64, which its cache holds; elsewhere 128 MiB,
# so that there is enough to do at once.
AT_ONCE, AT_ONCE_ON_GPU = 2**17, 2**24


@METRICS.register_module()
class CalibrationError(BaseMetric):
    """ECE, MCE, class-wise ECE, NLL and Brier score of images (mmpretrain) or pixels (mmseg).

    - calibration/ECE: mean distance of confidence and accuracy over bins, in percent.
    - calibration/MCE: the largest of these distances, in percent.
    - calibration/classwise_ECE: the same as ECE for every class's own probability and whether it is
      the label's, averaged over classes, in percent.
    - calibration/NLL: mean of -log of the label's probability, in nats.
    - calibration/Brier: mean squared distance to the one-hot label, from 0 to 2.
    - calibration/many_ECE, medium_ECE and few_ECE for images, head_ECE, body_ECE and tail_ECE for
      pixels, or those of other groups: ECE of the elements whose label is in the group, in percent;
      NaN without any, and where nobody knows the training counts. The groups are by default those
      of `LongTailAccuracy` and of `LongTailIoUMetric`.

    Lower is better, which ``CheckpointHook(save_best='calibration/ECE')`` knows.

    Only sums over bins are kept, in float64: six numbers a class and a bin, however many pixels
    there are. Ranks add them up, without the image that a distributed sampler repeats to give every
    rank as many. Elements with a score that is not a number are left out, with a warning. Without
    any element the result is empty.

    Scores are ``pred_score`` of mmpretrain, which are probabilities, or ``seg_logits`` of mmseg:
    the logits of every pixel at the original size of the image; of a head with one output, which
    tells two classes apart, already the probability of the second.

    Under test-time augmentation, mmseg merges predictions alone and leaves the scores of the last
    view beside them. They are not those of the prediction, so there is no figure then, and a
    warning says so. mmpretrain merges scores.

    Args:
        num_bins (int): Bins of equal width, (a, b] and the first with 0. Defaults to 15.
        activation (str, optional): What makes probabilities of the scores: 'softmax'; 'sigmoid',
            for heads trained with a sigmoid, divided by its sum over classes; 'sum', only that
            division, for scores of mask classification; 'none'. Defaults to None, 'softmax' for
            ``seg_logits`` of several classes and 'none' otherwise.
        ignore_index (int): Label of pixels to leave out. Defaults to 255.
        class_counts (str | PathLike | Sequence[int] | ClassCounts, optional): Training counts: a
            packaged name, a path or C numbers. Defaults to None, ``dataset_meta['class_counts']``,
            where `ClassCountsHook` puts them.
        groups (ClassGroups | dict, optional): Groups of classes, or the arguments of
            `ClassGroups.of`. Defaults to None, what is usual for images or for pixels.
        output_json (str | PathLike, optional): Where to write the figures and the bins, from which
            ``tools/analysis_tools/reliability_diagram.py`` draws. Written anew by every evaluation,
            by rank 0. Defaults to None, nothing is written.
        **kwargs: Arguments of `mmengine.evaluator.BaseMetric`: prefix, collect_device, collect_dir.

    Raises:
        TypeError: If an argument has a successor.
        ValueError: If an argument is not one of the above; at evaluation, if a sample lacks scores
            or a label, these are no probabilities or no classes, or counts or groups do not fit the
            number of classes.
    """

    default_prefix = 'calibration'
    certain_figures = ('ECE', 'MCE', 'classwise_ECE', 'NLL', 'Brier')

    def __init__(
        self,
        *,
        num_bins: int = 15,
        activation: str | None = None,
        ignore_index: int = 255,
        class_counts: str | os.PathLike | Sequence[int] | ClassCounts | None = None,
        groups: ClassGroups | Mapping[str, Any] | None = None,
        output_json: str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> None:
        # What is evaluated tells the unit, and so which of the two the metric is to go by.
        self.classes = {
            unit: TrainingClasses('CalibrationError', unit, groups, class_counts, kwargs)
            for unit in ('images', 'pixels')
        }
        self.classes['images'].refuse_names(['classwise'])
        super().__init__(**kwargs)
        if not isinstance(num_bins, int) or num_bins < 1:
            raise ValueError(
                f'num_bins of CalibrationError is {num_bins!r}: give a whole number of at least 1.'
            )
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(
                f'activation of CalibrationError is {activation!r}: choose from '
                f'{", ".join(ACTIVATIONS)}.'
            )
        self.num_bins = num_bins
        self.activation = activation
        self.ignore_index = ignore_index
        self.output_json = output_json
        self._unit = 'images'
        self._forget()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add up the bins of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Outputs of the model, each with 'pred_score' (C,) and
                'gt_label' (1,), or with 'seg_logits' (C, H, W) and 'gt_sem_seg' (1, H, W).

        Raises:
            ValueError: If a sample lacks scores or a label.
        """
        classifies = 'pred_score' in data_samples[0]
        self._unit = 'images' if classifies else 'pixels'
        if not classifies and self._shows_views(data_batch, data_samples):
            return
        pieces = of_classifier(data_samples) if classifies else map(of_segmentor, data_samples)
        for scores, labels, images in pieces:
            self._add(self._last)
            self._last = self._sum(scores, labels, classifies)
            self._images += images

    def _shows_views(self, data_batch: Any, data_samples: Sequence[dict]) -> bool:
        """Whether scores are those of one of several views, with a warning the first time."""
        if not has_several_views(data_batch) and not any(map(is_merged, data_samples)):
            return self._has_views
        if not self._has_views:
            self._has_views = True
            log(
                'CalibrationError gives no figures, because the predictions are not those of the '
                'scores beside them: mmseg merges the views of test-time augmentation without '
                'their scores. Evaluate calibration without it.',
                logging.WARNING,
            )
        return True

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the sums of all ranks and compute the figures.

        Args:
            size (int): Images of the data set; further ones are repetitions of a sampler.

        Returns:
            dict[str, float]: The figures, on all ranks.
        """
        rank, ranks = get_dist_info()
        # Rank r of R gets the images r, r + R, r + 2R, ...
        if (self._images - 1) * ranks + rank < size:
            self._add(self._last)
        self.results = [dict(sums=self._sums, unit=self._unit, views=self._has_views)]
        self._forget()
        return super().evaluate(ranks)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Compute the figures from the sums of each rank.

        Args:
            results (list[dict]): The `CalibrationSums` of each rank, None of a rank without images.

        Returns:
            dict[str, float]: ECE, MCE, classwise_ECE, NLL, Brier and the ECE of groups.
        """
        parts = [result for result in results if result['sums'] is not None]
        if not parts or any(result['views'] for result in results):
            return {}
        sums, unit = parts[0]['sums'], parts[0]['unit']
        for part in parts[1:]:
            sums = sums + part['sums']
        if sums.left_out:
            log(
                f'CalibrationError left out {int(sums.left_out):,} {unit} with a score that is not '
                'a number: look for what makes the model give them.',
                logging.WARNING,
            )
        number = sums.counts.sum()
        if number == 0:
            return {}
        bins = [column.sum(dim=0) for column in (sums.counts, sums.confidences, sums.hits)]
        of_classes = sums.class_counts, sums.class_probabilities, sums.class_hits
        metrics = dict(
            ECE=100 * expected_calibration_error(*bins),
            MCE=100 * maximum_calibration_error(*bins),
            classwise_ECE=100 * expected_calibration_error(*of_classes).mean(),
            NLL=sums.nll.sum() / number,
            Brier=sums.brier.sum() / number,
        )
        for group, classes in self._groups(len(sums.nll), unit).items():
            rows = [
                column[classes].sum(dim=0) for column in (sums.counts, sums.confidences, sums.hits)
            ]
            # NaN without an element.
            metrics[f'{group}_ECE'] = 100 * expected_calibration_error(*rows)
        # The one math.nan, which makes equal results equal.
        metrics = {
            name: math.nan if math.isnan(value) else float(value) for name, value in metrics.items()
        }
        if self.output_json is not None:
            self._write(metrics, bins, unit, int(sums.left_out))
        return metrics

    def _sum(self, scores: Tensor, labels: Tensor, classifies: bool) -> CalibrationSums:
        """Sums of (N, C) scores, a part of the elements at a time."""
        activation = self.activation or ('none' if classifies else 'softmax')
        binary = not classifies and scores.shape[1] == 1
        sums = None
        rows = max(1, (AT_ONCE if scores.is_cpu else AT_ONCE_ON_GPU) // scores.shape[1])
        for part, classes in zip(scores.split(rows), labels.split(rows), strict=True):
            if not classifies:
                kept = classes != self.ignore_index
                if not kept.all():
                    part, classes = part[kept], classes[kept]
            if binary:
                part = torch.cat([1 - part, part], dim=1)
            else:
                part = to_probabilities(part, activation)
                check_sums(part)
            more = calibration_sums(part, classes, self.num_bins)
            sums = more if sums is None else sums + more
        return sums.cpu()

    def _groups(self, outputs: int, unit: str) -> dict[str, Tensor]:
        # A model may have outputs for classes that the data set lacks.
        names = (self.dataset_meta or {}).get('classes')
        labelled = outputs if names is None else len(names)
        classes = self.classes[unit]
        counts = classes.counts(self.dataset_meta, labelled)
        return classes.split(counts, labelled, warn=False)

    def _write(self, metrics: dict, bins: Sequence[Tensor], unit: str, left_out: int) -> None:
        counts, confidences, hits = (column.tolist() for column in bins)
        number = sum(counts)
        rows = [
            {
                'from': b / self.num_bins,
                'to': (b + 1) / self.num_bins,
                'count': counts[b],
                'confidence': confidences[b] / counts[b] if counts[b] else None,
                'accuracy': hits[b] / counts[b] if counts[b] else None,
            }
            for b in range(self.num_bins)
        ]
        overall = dict(
            confidence=100 * sum(confidences) / number, accuracy=100 * sum(hits) / number
        )
        known = {key: value for key, value in metrics.items() if not math.isnan(value)}
        content = dict(
            unit=unit, number=number, left_out=left_out, metrics={**known, **overall}, bins=rows
        )
        Path(self.output_json).parent.mkdir(parents=True, exist_ok=True)
        Path(self.output_json).write_text(json.dumps(content, indent=1) + '\n')

    def _forget(self) -> None:
        self._sums: CalibrationSums | None = None
        self._last: CalibrationSums | None = None
        self._images = 0
        self._has_views = False

    def _add(self, sums: CalibrationSums | None) -> None:
        if sums is not None:
            self._sums = sums if self._sums is None else self._sums + sums
