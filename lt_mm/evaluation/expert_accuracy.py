"""Accuracy of every expert beside that of all together."""

import logging
from collections.abc import Sequence
from typing import Any

from lt_mm.evaluation.long_tail_accuracy import LongTailAccuracy
from lt_mm.evaluation.per_class import log
from lt_mm.evaluation.sample_scores import has_several_views
from lt_mm.registry import METRICS


@METRICS.register_module()
class ExpertAccuracy(LongTailAccuracy):
    """`LongTailAccuracy`, and the same figures of each expert alone.

    Beside accuracy/top1, accuracy/few and the other keys of the joint prediction there are
    accuracy/expert0_top1, accuracy/expert0_few and so on. The table and the CSV file are of the
    joint prediction.

    Under test-time augmentation mmpretrain merges joint scores alone, and those of experts are of
    the first view; a warning says so, and there are no figures of experts.

    The head has to keep the scores of its experts:
    ``dict(type='lt_mm.MultiExpertClsHead', expert_predictions=True)``.

    Args:
        **kwargs: Arguments of `LongTailAccuracy`.

    Raises:
        ValueError: As of `LongTailAccuracy`; at evaluation, also if there are no scores of experts.
    """

    _has_warned = False

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what `LongTailAccuracy` keeps of every image, jointly and for each expert.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): As of `LongTailAccuracy.process`, each also with
                'expert_scores' (E, C).

        Raises:
            ValueError: If a sample has not exactly one label, or no scores of experts.
        """
        if any('expert_scores' not in sample for sample in data_samples):
            raise ValueError(
                'ExpertAccuracy got a prediction without expert_scores: give the '
                'lt_mm.MultiExpertClsHead expert_predictions=True, or use LongTailAccuracy'
            )
        columns = [self.of_images(data_samples)]
        if has_several_views(data_batch):
            self._warn_of_views()
            self.results.extend(zip(*columns, strict=True))
            return
        for expert in range(len(data_samples[0]['expert_scores'])):
            alone = [
                dict(gt_label=sample['gt_label'], pred_score=sample['expert_scores'][expert])
                for sample in data_samples
            ]
            columns.append(self.of_images(alone))
        self.results.extend(zip(*columns, strict=True))

    def _warn_of_views(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            log(
                'ExpertAccuracy gives no figures of single experts, because mmpretrain merges the '
                'views of test-time augmentation without their scores. Evaluate experts without '
                'it.',
                logging.WARNING,
            )

    def compute_metrics(
        self, results: list[tuple[tuple[int, int, bool | None], ...]]
    ) -> dict[str, float]:
        """Compute the accuracies.

        Args:
            results (list): Of every image, the entries of `LongTailAccuracy.compute_metrics`:
                jointly first, then for each expert.

        Returns:
            dict[str, float]: Percentages, the joint ones first. Empty without images.

        Raises:
            ValueError: If the counts do not fit the number of classes or a label is not a class.
        """
        if not results:
            return {}
        joint, *alone = (list(column) for column in zip(*results, strict=True))
        metrics = super().compute_metrics(joint)
        for expert, column in enumerate(alone):
            own = self.figures(column).metrics
            metrics |= {f'expert{expert}_{key}': value for key, value in own.items()}
        return metrics
