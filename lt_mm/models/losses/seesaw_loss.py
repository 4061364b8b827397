"""Seesaw loss for both tasks."""

import math
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.logging import MessageHub
from torch import Tensor

from lt_mm.functional import seesaw_cross_entropy
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class SeesawLoss(LogitLoss):
    """Cross-entropy that spares rare classes the punishment by elements of frequent ones.

    How frequent a class is comes from the class counts, through the prior of what the sampler
    yields, or with ``num_classes`` from the labels seen so far on all ranks, as in the paper; these
    are kept in a buffer and counted in training mode, before the loss. A run that is resumed goes
    on counting; one that begins with the weights of another (``load_from``) counts afresh.

    Args:
        p: strength of the mitigation.
        q: strength of the compensation.
        eps: least probability of the label in the compensation.
        num_classes: C, to count the labels seen; None takes the class counts.
        kwargs: further arguments of :class:`LogitLoss`.

    Raises:
        ValueError: if ``p`` or ``q`` is negative or not finite, or ``eps`` is not between 0 and 1.
        RuntimeError: when called without class counts and without ``num_classes``.

    Source: Wang et al., CVPR 2021.
    """

    def __init__(
        self,
        p: float = 0.8,
        q: float = 2.0,
        eps: float = 0.01,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, usual in (('p', p, 0.8), ('q', q, 2)):
            if not 0 <= value < math.inf:
                raise ValueError(
                    f'{name} of SeesawLoss is {value}, but it must be finite and zero or more; '
                    f'use {usual}.'
                )
        if not 0 < eps < 1:
            raise ValueError(
                f'eps of SeesawLoss is {eps}, but it must be between 0 and 1; use 0.01.'
            )
        self.p = p
        self.q = q
        self.eps = eps
        self.seen: Tensor | None
        # Counts of pixels outgrow the whole numbers of float32; soft labels have fractions.
        seen = None if num_classes is None else torch.zeros(num_classes, dtype=torch.float64)
        self.register_buffer('seen', seen)
        self._loaded = False

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Seesaw loss of each element."""
        if self.seen is None:
            log_counts = self.class_counts.require_log_prior()
        else:
            log_counts = self._log_seen()
        return seesaw_cross_entropy(
            logits, target, log_counts, self.p, self.q, self.eps, ignore_index
        )

    def _log_seen(self) -> Tensor:
        """Log of the labels seen; a class that is to come counts as one, as in the paper."""
        never = self.seen == 0
        if self.class_counts.is_set:
            never &= self.class_counts.counts == 0
        # Where nothing was seen yet, nothing is known to be rare.
        return self.seen.clamp(min=1).log().masked_fill(never & self.seen.any(), -torch.inf)

    @torch.no_grad()
    def observe(self, logits: Tensor, target: Tensor, ignore_index: int) -> None:
        """Count the labels in training, where that is asked for.

        Raises:
            ValueError: if the logits have another number of classes.
        """
        if self.seen is None or not self.training:
            return
        num_classes = len(self.seen)
        if num_classes != logits.shape[1]:
            raise ValueError(
                f'num_classes of SeesawLoss is {num_classes}, but the logits have '
                f'{logits.shape[1]} classes; set it to those of the head.'
            )
        if self._loaded and MessageHub.get_current_instance().get_info('iter') == 0:
            self.seen.zero_()
        self._loaded = False
        if target.is_floating_point():
            new = target.double().transpose(0, 1).flatten(1).sum(1)
        else:
            labels = target[target != ignore_index].long()
            new = torch.bincount(labels, minlength=num_classes).double()
        all_reduce(new)
        self.seen += new

    def _load_from_state_dict(self, *args: Any) -> None:
        self._loaded = True
        super()._load_from_state_dict(*args)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        counts = 'of the data set' if self.seen is None else 'of the labels seen'
        return f'p={self.p}, q={self.q}, eps={self.eps}, counts {counts}'
