"""mmseg's IoU metric, with the means over head, body and tail classes beside it."""

import inspect
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from lt_mm.evaluation.per_class import (
    TrainingClasses,
    class_rows,
    group_means,
    log,
    log_left_out,
    table_text,
    write_csv,
)
from lt_mm.registry import METRICS, did_you_mean
from lt_mm.structures import ClassCounts, ClassGroups

COLUMNS = ('class', 'group', 'count', 'iou', 'acc', 'label_pixels', 'pred_pixels')


@METRICS.register_module()
class LongTailIoUMetric(IoUMetric):
    """IoU and accuracy of all classes and of the head, body and tail classes, in percent.

    The numbers of `mmseg.evaluation.IoUMetric` stay as they are (mIoU, mAcc, aAcc). Beside them
    stand head_IoU, head_Acc, body_IoU, body_Acc, tail_IoU and tail_Acc, or those of other groups.
    Areas behind the group
    numbers are summed in float64, as float32 sums are inexact above 2**24 pixels.

    Classes without a labelled pixel are named in the log, thirty at most. Such a class has no
    accuracy, and no IoU either unless it was predicted somewhere (its IoU is 0 then, as in mmseg).
    Numbers that a class does not have are left out of the group means, whatever ``nan_to_num`` is;
    the mean of a group without any is NaN, as all are where nobody knows the training counts.

    ``CheckpointHook(save_best='tail_IoU')`` works as it is: more is better, and NaN is never best.
    A table of the group and the training count of each class is logged by the first evaluation.

    Args:
        groups (ClassGroups | dict, optional): Groups of classes, or the arguments of
            `ClassGroups.of`: ``dict(sizes=(20, 55, 75), by='index')`` is what is published for
            ADE20K. Defaults to None: head, body and tail by their share of the training pixels,
            `ClassGroups.by_share`.
        class_counts (str | PathLike | Sequence[int] | ClassCounts, optional): Training counts: a
            packaged name, a path or C numbers. Defaults to None, ``dataset_meta['class_counts']``,
            where `ClassCountsHook` puts them. Groups by index and by lists need none.
        output_csv (str | PathLike, optional): Where to write a row per class: class, group, count,
            iou and acc in percent, label_pixels and pred_pixels (of the labelled pixels); unknown
            figures are empty. Written anew by every evaluation, by rank 0. Defaults to None,
            nothing is written.
        **kwargs: Arguments of `mmseg.evaluation.IoUMetric`.

    Raises:
        TypeError: If an argument is not one of `mmseg.evaluation.IoUMetric` either.
        ValueError: If the groups are not valid; at evaluation, if the counts or the groups do not
            fit the number of classes.
    """

    certain_figures = ('aAcc',)

    def __init__(
        self,
        *,
        groups: ClassGroups | Mapping[str, Any] | None = None,
        class_counts: str | os.PathLike | Sequence[int] | ClassCounts | None = None,
        output_csv: str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> None:
        name = 'LongTailIoUMetric'
        self.classes = TrainingClasses(name, 'pixels', groups, class_counts, kwargs)
        # mmseg's metric drops arguments it does not know: a misspelt one would go unnoticed.
        unknown = kwargs.keys() - inspect.signature(IoUMetric).parameters.keys()
        if unknown:
            given = [f'{key}{did_you_mean(key, type(self))}' for key in sorted(unknown)]
            raise TypeError(
                f'{name} does not know {", ".join(given)}: '
                'give its own arguments or those of mmseg.IoUMetric.'
            )
        super().__init__(**kwargs)
        self.output_csv = output_csv
        self._has_shown_groups = False

    def compute_metrics(self, results: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> dict:
        """Compute the numbers of mmseg and those of the groups.

        Args:
            results (list): Per image, the areas of intersection, union, prediction and label of
                each class, four (C,) tensors.

        Returns:
            dict[str, float]: Percentages, rounded to two decimals. Empty if ``format_only``.
        """
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        intersect, union, pred, label = (
            torch.stack(areas).sum(dim=0, dtype=torch.float64)
            for areas in zip(*results, strict=True)
        )
        per_class = self.total_area_to_metrics(intersect, union, pred, label, ['mIoU'])
        percent = {what: per_class[what] * 100 for what in ('IoU', 'Acc')}
        names = self.dataset_meta['classes']
        absent = [name for name, pixels in zip(names, label, strict=True) if pixels == 0]

        counts = self.classes.counts(self.dataset_meta, len(names))
        groups = self.classes.split(counts, len(names))
        means = {what: group_means(values, groups) for what, values in percent.items()}
        wanted = [(group, what) for group in groups for what in percent]
        missing = [f'{group}_{what}' for group, what in wanted if math.isnan(means[what][group])]
        log_left_out(absent, missing)
        for group, what in wanted:
            metrics[f'{group}_{what}'] = round(means[what][group], 2)
        if not self._has_shown_groups and any(map(len, groups.values())):
            self._has_shown_groups = True
            rows = class_rows(names, groups, counts, (), ())
            log(f'groups of classes:\n{table_text(COLUMNS[:3], rows)}')
        if self.output_csv is not None:
            rows = class_rows(names, groups, counts, list(percent.values()), (label, pred))
            write_csv(self.output_csv, COLUMNS, rows)
        return metrics
