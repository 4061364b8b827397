"""How many experts predictions took."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from lt_mm.evaluation.per_class import log
from lt_mm.evaluation.sample_scores import has_several_views
from lt_mm.registry import METRICS


@METRICS.register_module()
class ExpertUsage(BaseMetric):
    """Mean number of experts that an image asks, and the share of images for each number.

    The keys are experts/mean, and experts/share_1, experts/share_2 and so on in percent, up to the
    largest number that occurs. The cost of a prediction is that of the shared part and, for every
    expert asked, of its own. Under test-time augmentation a prediction knows the number of its
    first view alone: a warning says so, and there is no figure.

    Args:
        **kwargs: Arguments of `mmengine.evaluator.BaseMetric`: prefix, collect_device, collect_dir.

    Raises:
        ValueError: At evaluation, if a prediction has no number of experts.
    """

    default_prefix = 'experts'
    certain_figures = ('mean',)
    _has_warned = False

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep one number of every image.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Outputs of the model, each with 'num_experts' (1,).

        Raises:
            ValueError: If one has none.
        """
        if any('num_experts' not in sample for sample in data_samples):
            raise ValueError(
                'ExpertUsage got a prediction without num_experts: use it with '
                "head=dict(type='lt_mm.RoutedClsHead'), or leave it out"
            )
        if has_several_views(data_batch):
            if not self._has_warned:
                self._has_warned = True
                log(
                    'ExpertUsage gives no figures, because mmpretrain merges the views of '
                    'test-time augmentation without their numbers of experts. Evaluate usage '
                    'without it.',
                    logging.WARNING,
                )
            return
        self.results.extend(int(sample['num_experts']) for sample in data_samples)

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Compute mean and shares.

        Args:
            results (list): Number of experts of each image.

        Returns:
            dict[str, float]: 'mean', and 'share_1', ... in percent. Empty without images.
        """
        if not results:
            return {}
        numbers = torch.tensor(results)
        shares = 100 * numbers.bincount()[1:] / len(results)
        named = {f'share_{number}': share for number, share in enumerate(shares.tolist(), 1)}
        return dict(mean=numbers.float().mean().item(), **named)
