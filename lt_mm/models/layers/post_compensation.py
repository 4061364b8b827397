"""Post-compensated softmax behind any classifier."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lt_mm.functional.checks import check_number
from lt_mm.functional.post_compensation import post_compensate
from lt_mm.functional.priors import check_counts
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class PostCompensation(nn.Module):
    """Logits as they are in training; in eval mode, for another prior than the training's.

    The prior of the training comes from ``lt_mm.ClassCountsHook``, which gives that of the
    sampler where one changes it, and is then in the checkpoint. Behind a classifier whose loss is
    logit-adjusted already, it would correct twice.

    Args:
        num_classes: C.
        alpha: strength, see :func:`lt_mm.functional.post_compensate`.
        target: the prior to predict for: C positive numbers in its proportions, or the name or
            the path of class counts. None for a uniform one.
        class_counts: of the training, for a checkpoint that holds none: class counts, their name,
            their path, or the numbers. They come before those of the hook.

    Raises:
        ValueError: if alpha is not finite, the target is not positive, or either is of another
            number of classes.
        RuntimeError: when used in eval mode without class counts.

    Source: Hong et al., CVPR 2021 (LADE); Menon et al., ICLR 2021, eq. 9.
    """

    def __init__(
        self,
        num_classes: int,
        alpha: float = 1.0,
        target: str | os.PathLike | Sequence[float] | None = None,
        class_counts: ClassCounts | str | os.PathLike | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_number('alpha', alpha, 'PostCompensation', '1 is usual')
        self.alpha = alpha
        self.register_buffer('target_log_prior', _target(target, num_classes), persistent=False)
        self.class_counts = ClassCountsBuffer('PostCompensation', num_classes)
        given = None
        if class_counts is not None:
            counts = ClassCounts.of(class_counts)
            counts.validate(num_classes, 'PostCompensation')
            given = counts.log_prior()
        self.register_buffer('given_log_prior', given, persistent=False)

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior of the training from these counts, unless the config gave others."""
        self.class_counts.set(class_counts)

    def forward(self, logits: Tensor) -> Tensor:
        """Compensate (N, C, ...) logits in eval mode."""
        if self.training or self.alpha == 0:
            return logits
        log_prior = self.given_log_prior
        if log_prior is None:
            log_prior = self._trained_log_prior()
        return post_compensate(logits, log_prior, self.alpha, self.target_log_prior)

    def _trained_log_prior(self) -> Tensor:
        if not self.class_counts.is_set:
            raise RuntimeError(
                'PostCompensation has no class counts of the training, neither set nor in the '
                'checkpoint; give post_compensation=dict(class_counts=...), or train and test '
                "with dict(type='lt_mm.ClassCountsHook') in custom_hooks."
            )
        return self.class_counts.require_log_prior()

    def extra_repr(self) -> str:
        """Strength."""
        return f'alpha={self.alpha}'


def _target(
    target: str | os.PathLike | Sequence[float] | None, num_classes: int
) -> torch.Tensor | None:
    if target is None:
        return None
    if isinstance(target, str | os.PathLike):
        counts = ClassCounts.load(target)
        counts.validate(num_classes, 'PostCompensation')
        return counts.log_prior()
    weights = check_counts(target)
    if len(weights) != num_classes or not weights.all():
        raise ValueError(
            f'target of PostCompensation is {target!r:.80}, but it must be {num_classes} positive '
            'numbers, one for each class; leave it out for a uniform prior.'
        )
    return (weights / weights.sum()).log().float()
