"""Label-distribution-aware margins for both tasks."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from lt_mm.functional import ldam_margins, margin_cross_entropy
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class LDAMLoss(LogitLoss):
    """Cross-entropy of ``scale * (cosine_j - margin_y [j = y])``, with larger margins in the tail.

    Margins are in units of the cosine. ``scale`` is one over the temperature of a cosine
    classifier, and is applied once: a head with ``classifier_temperature=1 / 30`` has multiplied
    its cosines by 30 already, so that ``LDAMLoss(scale=30)`` leaves its logits as they are and
    takes off ``30 * margin``. With ``classifier_temperature=1`` a head gives bare cosines and needs
    ``scaled_logits=False``, with which the loss multiplies them; its predictions are then softmaxes
    of bare cosines, of the right class but of no confidence. The margin also acts on the logits of
    a linear classifier, which the paper does not do.

    Args:
        max_margin: margin of the rarest class, as a cosine.
        scale: s. Defaults to that of the cosine classifier of our head, such as 1 / 0.05 = 20 of a
            ``CosineFCNHead``, else to 30, as a ``CosineClsHead`` has it.
        scaled_logits: whether the logits come multiplied by ``scale``.
        kwargs: further arguments of :class:`LogitLoss`, among them ``class_weight``, which
            ``lt_mm.DeferredHook`` makes DRW.

    Raises:
        ValueError: if ``max_margin`` is negative or not finite, or ``scale`` is not positive and
            finite; when called with ``scaled_logits=False`` and logits that are no cosines.
        RuntimeError: when called without class counts.

    Source: Cao et al., NeurIPS 2019.
    """

    def __init__(
        self,
        max_margin: float = 0.5,
        scale: float | None = None,
        scaled_logits: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ldam_margins([1], max_margin)
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(
                f'scale of LDAMLoss is {scale}, but it must be positive and finite; use one over '
                'classifier_temperature of the cosine head, such as 30.'
            )
        self.max_margin = max_margin
        self._scale = scale
        self.scaled_logits = scaled_logits

    @property
    def scale(self) -> float:
        """s, one over the temperature of the cosine classifier."""
        return 30.0 if self._scale is None else self._scale

    def inherit_scale(self, scale: float, owner: str) -> None:
        """Follow the classifier whose logits come multiplied by a scale of its own.

        Args:
            scale: one over its temperature.
            owner: what a warning calls the head, where the config of the loss says another scale.
        """
        if not self.scaled_logits:
            return
        if self._scale is None:
            self._scale = scale
        elif not math.isclose(self._scale, scale, rel_tol=1e-3):
            warnings.warn(
                f'scale of LDAMLoss is {self._scale:.4g}, but the cosines of {owner} are taken '
                f'times {scale:.4g}, so that its margins are {self._scale / scale:.3g} times what '
                'max_margin says; leave scale out.',
                stacklevel=4,
            )

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Cross-entropy of each element after its margin."""
        margins = self.scale * self.class_counts.derived(ldam_margins, self.max_margin)
        if not self.scaled_logits:
            largest = logits.detach().abs().amax().item() if logits.numel() else 0
            if largest > 1.01:
                raise ValueError(
                    f'a logit of {largest:.3g} reached LDAMLoss(scaled_logits=False), but a cosine '
                    'is at most 1, so the head has a scale of its own: leave scaled_logits out and '
                    "set scale to one over the head's classifier_temperature."
                )
            logits = self.scale * logits.to(torch.promote_types(logits.dtype, torch.float32))
        return margin_cross_entropy(logits, target, margins, ignore_index)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'max_margin={self.max_margin}, scale={self.scale}, scaled_logits={self.scaled_logits}'
        )
