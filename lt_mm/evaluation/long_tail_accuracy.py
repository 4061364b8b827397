"""Accuracy of a classifier over many-, medium- and few-shot classes."""

import math
import os
from collections.abc import Mapping, Sequence
from statistics import harmonic_mean
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from lt_mm.evaluation.per_class import (
    TrainingClasses,
    class_rows,
    group_means,
    log,
    log_left_out,
    table_text,
    write_csv,
)
from lt_mm.registry import METRICS
from lt_mm.structures import ClassCounts, ClassGroups

COLUMNS = ('class', 'group', 'count', 'acc', 'label_images', 'pred_images')
TOP_K = 5
NO_CLASS = -1


class AccuracyFigures(NamedTuple):
    """What `LongTailAccuracy` makes of the predictions of one classifier."""

    metrics: dict[str, float]
    """Percentages, top1 first."""
    rows: list[tuple]
    """A row of `COLUMNS` of each class."""
    absent: list[str]
    """Names of the classes without an image."""
    left_out: list[str]
    """Groups without a class to average, which are NaN."""


@METRICS.register_module()
class LongTailAccuracy(BaseMetric):
    """Top-1 and top-5 accuracy, many, medium and few shot, and what the mean hides, in percent.

    Takes the place of mmpretrain's ``Accuracy`` and keeps its prefix and its names, so the keys are

    - accuracy/top1, accuracy/top5: over all images, as ``Accuracy(topk=(1, 5), thrs=None)``.
    - accuracy/many, accuracy/medium, accuracy/few, or those of other groups: mean over the classes
      of a group of each class's accuracy. On a balanced test set this equals the accuracy over the
      images of these classes.
    - accuracy/macro: mean of the accuracies of all classes.
    - accuracy/harmonic: their harmonic mean, 0 if a class is never recognised.
    - accuracy/worst: the lowest of them.

    ``CheckpointHook(save_best='accuracy/few')`` needs no rule. Beside mmpretrain's ``Accuracy`` in
    the same evaluator give another ``prefix``, best one with 'acc' in it, for the same reason.

    Classes without a test image drop out of all means and are named in the log, thirty at most. A
    figure that cannot be told is NaN and never 0, so that ``save_best`` finds it and does not take
    it for the best: a group without a class to average, all groups where nobody knows the training
    counts, and top5 where predictions have no scores or the model tells fewer than five classes
    apart. Scores that are NaN predict no class.

    Args:
        groups (ClassGroups | dict, optional): Groups of classes, or the arguments of
            `ClassGroups.of`. Defaults to None, ``dict(many_above=100, few_below=20)``: classes of
            more than 100 training images, of 20 to 100, and of less.
        class_counts (str | PathLike | Sequence[int] | ClassCounts, optional): Training counts: a
            packaged name, a path or C numbers. Defaults to None, ``dataset_meta['class_counts']``,
            where `ClassCountsHook` puts them.
        output_csv (str | PathLike, optional): Where to write a row per class: class, group, count,
            acc in percent, label_images and pred_images; unknown figures are empty. Written anew
            by every evaluation, by rank 0. Defaults to None, nothing is written.
        show_table (bool): Whether to log these rows as a table, for tests rather than for the
            validation of every epoch. Defaults to False.
        **kwargs: Arguments of `mmengine.evaluator.BaseMetric`: prefix, collect_device, collect_dir.

    Raises:
        TypeError: If an argument has a successor.
        ValueError: If the groups are not valid; at evaluation, if they or the counts do not fit the
            number of classes or an image has not exactly one label that is a class.
    """

    default_prefix = 'accuracy'
    certain_figures = ('top1', 'top5', 'macro', 'harmonic', 'worst')

    def __init__(
        self,
        *,
        groups: ClassGroups | Mapping[str, Any] | None = None,
        class_counts: str | os.PathLike | Sequence[int] | ClassCounts | None = None,
        output_csv: str | os.PathLike | None = None,
        show_table: bool = False,
        **kwargs: Any,
    ) -> None:
        self.classes = TrainingClasses(type(self).__name__, 'images', groups, class_counts, kwargs)
        self.classes.refuse_names(self.certain_figures)
        super().__init__(**kwargs)
        self.output_csv = output_csv
        self.show_table = show_table

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep three numbers of every image: its label, its prediction, whether it is in the top 5.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Outputs of the model, each with 'gt_label' (1,) and
                'pred_score' (C,) or, without scores, 'pred_label' (1,).

        Raises:
            ValueError: If a sample has not exactly one label.
        """
        # One entry an image, not one a batch: mmengine drops by their number the images that a
        # distributed sampler repeats to give every rank as many.
        self.results.extend(self.of_images(data_samples))

    @staticmethod
    def of_images(data_samples: Sequence[dict]) -> list[tuple[int, int, bool | None]]:
        """Label, predicted class and whether the label is among the five best, of every image.

        Args:
            data_samples (Sequence[dict]): As of `process`.

        Returns:
            list[tuple[int, int, bool | None]]: One of each image; None where it is unknown.

        Raises:
            ValueError: If a sample has not exactly one label.
        """
        if any(
            'gt_label' not in sample or sample['gt_label'].numel() != 1 for sample in data_samples
        ):
            raise ValueError(
                'LongTailAccuracy got an image without exactly one gt_label: evaluate on labelled '
                'images of a single-label data set'
            )
        labels = torch.cat([sample['gt_label'].flatten() for sample in data_samples]).cpu()
        if 'pred_score' in data_samples[0]:
            scores = torch.stack([sample['pred_score'] for sample in data_samples])
            best = scores.topk(min(TOP_K, scores.shape[1]), dim=1)
            best = best.indices.masked_fill(best.values.isnan(), NO_CLASS).cpu()
            predictions = best[:, 0]
            enough = scores.shape[1] >= TOP_K
            hits = (best == labels[:, None]).any(dim=1).tolist() if enough else [None] * len(labels)
        else:
            predictions = torch.cat([sample['pred_label'] for sample in data_samples])
            hits = [None] * len(labels)
        return list(zip(labels.tolist(), predictions.tolist(), hits, strict=True))

    def compute_metrics(self, results: list[tuple[int, int, bool | None]]) -> dict[str, float]:
        """Compute the accuracies.

        Args:
            results (list): Per image, its label, its predicted class and whether the label is among
                the five best, None where that is unknown.

        Returns:
            dict[str, float]: Percentages, top1 first. Empty without images.

        Raises:
            ValueError: If the counts do not fit the number of classes or a label is not a class.
        """
        if not results:
            return {}
        figures = self.figures(results)
        log_left_out(figures.absent, figures.left_out)
        if self.show_table:
            log(f'per class:\n{table_text(COLUMNS, figures.rows)}')
        if self.output_csv is not None:
            write_csv(self.output_csv, COLUMNS, figures.rows)
        return figures.metrics

    def figures(self, results: list[tuple[int, int, bool | None]]) -> AccuracyFigures:
        """Compute the accuracies and those of each class, and write nothing.

        Args:
            results (list): As of `compute_metrics`; not empty.

        Raises:
            ValueError: If the counts do not fit the number of classes or a label is not a class.
        """
        labels, predictions, hits = (np.array(column) for column in zip(*results, strict=True))
        names, counts = self._classes(max(labels.max(), predictions.max()) + 1)
        size = len(names)
        if labels.min() < 0 or labels.max() >= size:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(
                f'label {wrong} is not one of the {size} classes that LongTailAccuracy evaluates: '
                "correct the annotations, or the data set's classes"
            )
        right = predictions == labels
        images = np.bincount(labels, minlength=size)
        accuracies = np.full(size, np.nan)
        correct = np.bincount(labels[right], minlength=size)
        np.divide(100 * correct, images, out=accuracies, where=images > 0)

        metrics = dict(top1=100 * float(right.mean()))
        known = hits[0] is not None
        metrics['top5'] = 100 * float(hits.astype(bool).mean()) if known else math.nan
        groups = self.classes.split(counts, size)
        means = group_means(accuracies, groups)
        evaluated = accuracies[images > 0]
        metrics.update(
            **means,
            macro=float(evaluated.mean()),
            harmonic=float(harmonic_mean(evaluated.tolist())),
            worst=float(evaluated.min()),
        )
        # A model may have outputs for classes that the data set lacks.
        known = predictions[(predictions >= 0) & (predictions < size)]
        predicted = np.bincount(known, minlength=size)
        return AccuracyFigures(
            metrics,
            rows=class_rows(names, groups, counts, [accuracies], [images, predicted]),
            absent=[name for name, number in zip(names, images, strict=True) if number == 0],
            left_out=[group for group in groups if math.isnan(means[group])],
        )

    def _classes(self, seen: int) -> tuple[Sequence[str], ClassCounts | None]:
        names = (self.dataset_meta or {}).get('classes')
        counts = self.classes.counts(self.dataset_meta, None if names is None else len(names))
        if names is None and counts is not None:
            names = counts.class_names or range(counts.num_classes)
        return [str(name) for name in (range(seen) if names is None else names)], counts
