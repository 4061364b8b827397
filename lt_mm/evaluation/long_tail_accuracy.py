"""Accuracy of a classifier over many-, medium- and few-shot classes."""

import logging
import os
from collections.abc import Sequence
from statistics import harmonic_mean
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from lt_mm.evaluation.per_class import (
    class_rows,
    group_means,
    log,
    log_left_out,
    table_text,
    training_counts,
    write_csv,
)
from lt_mm.registry import METRICS
from lt_mm.structures import ClassCounts

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
    """Groups without a class to average."""


def shot_groups(counts: Tensor, many_above: int = 100, few_below: int = 20) -> dict[str, Tensor]:
    """Split classes into many, medium and few shot by their training counts.

    Source: the public code of OLTR (Liu et al., CVPR 2019) and of Decoupling (Kang et al.,
    ICLR 2020): many have over 100 images, few under 20, medium 20 to 100.

    Args:
        counts (Tensor): Training images of each class, shape (C,).
        many_above (int): Classes with more images than this are many-shot. Defaults to 100.
        few_below (int): Classes with fewer images than this are few-shot, those without any among
            them. Defaults to 20.

    Returns:
        dict[str, Tensor]: Class indices of 'many', 'medium' and 'few', int64, rising; a group may
        be empty.

    Raises:
        ValueError: If a class could be both many- and few-shot.
    """
    if few_below > many_above + 1:
        raise ValueError(
            f'few_below is {few_below} and many_above {many_above}, so that a class could be in '
            'both groups: give few_below of at most many_above + 1'
        )
    many, few = counts > many_above, counts < few_below
    masks = dict(many=many, medium=~many & ~few, few=few)
    return {group: mask.nonzero().flatten() for group, mask in masks.items()}


@METRICS.register_module()
class LongTailAccuracy(BaseMetric):
    """Top-1 and top-5 accuracy, many, medium and few shot, and what the mean hides, in percent.

    Takes the place of mmpretrain's ``Accuracy`` and keeps its prefix and its names, so the keys are

    - accuracy/top1, accuracy/top5: over all images, as ``Accuracy(topk=(1, 5), thrs=None)``.
    - accuracy/many, accuracy/medium, accuracy/few: mean over the classes of `shot_groups`, which
      go by the training counts and never by the class index, of each class's accuracy. On a
      balanced test set this equals the accuracy over the images of these classes.
    - accuracy/macro: mean of the accuracies of all classes.
    - accuracy/harmonic: their harmonic mean, 0 if a class is never recognised.
    - accuracy/worst: the lowest of them.

    ``CheckpointHook(save_best='accuracy/few')`` needs no rule. Beside mmpretrain's ``Accuracy`` in
    the same evaluator give another ``prefix``, best one with 'acc' in it, for the same reason.

    Classes without a test image drop out of all means and are named in the log, thirty at most. A
    group without a class to average is left out of the result; it is never reported as 0. Left out
    are top5 too, where predictions have no scores or the model tells fewer than five classes apart,
    and the groups, where nobody knows the training counts. Scores that are NaN predict no class.

    Args:
        many_above (int): Training images that a many-shot class has more than. Defaults to 100.
        few_below (int): Training images that a few-shot class has less than. Defaults to 20.
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
        ValueError: If a class could be both many- and few-shot; at evaluation, if the counts do not
            fit the number of classes or an image has not exactly one label that is a class.
    """

    default_prefix = 'accuracy'

    def __init__(
        self,
        *,
        many_above: int = 100,
        few_below: int = 20,
        class_counts: str | os.PathLike | Sequence[int] | ClassCounts | None = None,
        output_csv: str | os.PathLike | None = None,
        show_table: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = dict(many_above=many_above, few_below=few_below)
        shot_groups(torch.ones(1), **self.thresholds)
        self.class_counts = None if class_counts is None else ClassCounts.of(class_counts, 'images')
        self.output_csv = output_csv
        self.show_table = show_table
        self._warned = False

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
        if hits[0] is not None:
            metrics['top5'] = 100 * float(hits.astype(bool).mean())
        groups = self._groups(counts)
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
            left_out=[group for group in groups if group not in means],
        )

    def _classes(self, seen: int) -> tuple[Sequence[str], ClassCounts | None]:
        names = (self.dataset_meta or {}).get('classes')
        counts = training_counts(
            self.class_counts,
            self.dataset_meta,
            None if names is None else len(names),
            'images',
            'LongTailAccuracy',
        )
        if names is None and counts is not None:
            names = counts.class_names or range(counts.num_classes)
        return [str(name) for name in (range(seen) if names is None else names)], counts

    def _groups(self, counts: ClassCounts | None) -> dict[str, Tensor]:
        if counts is not None:
            return shot_groups(counts.counts, **self.thresholds)
        if not self._warned:
            self._warned = True
            log(
                'LongTailAccuracy knows no class counts and leaves many, medium and few out: give '
                'it class_counts, or add the hook lt_mm.ClassCountsHook.',
                logging.WARNING,
            )
        return {}
