"""The ``class_weight`` argument of the losses."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lt_mm.functional import effective_number_weights, inverse_power_weights
from lt_mm.models.counts import ClassCountsBuffer

_OF_COUNTS = dict(effective_number=effective_number_weights, inverse=inverse_power_weights)
_CHOICES = "dict(type='effective_number', beta=0.9999), dict(type='inverse', power=1.0) or a list"


class ClassWeights(nn.Module):
    """One weight for each class, given or made from class counts.

    ``lt_mm.DeferredHook`` switches the weights on late in the training (DRW). Without it they are
    on from the start.

    Args:
        class_weight: ``dict(type='effective_number', beta=...)`` or ``dict(type='inverse',
            power=...)``, whose weights have the mean 1 over the classes that occur; or the weights
            themselves, taken as they are.
        owner: what error messages call the loss.

    Raises:
        ValueError: if ``class_weight`` is none of these, or a weight is negative or not finite.
    """

    def __init__(self, class_weight: Mapping | Sequence[float], owner: str) -> None:
        super().__init__()
        self.owner = owner
        self.class_weight = class_weight
        self.of_counts = None
        given = torch.zeros(0)
        if isinstance(class_weight, Mapping):
            options = dict(class_weight)
            try:
                self.of_counts = partial(_OF_COUNTS.get(options.pop('type', None)), **options)
                self.of_counts([1, 2])
            except TypeError as error:
                raise ValueError(
                    f'class_weight of {owner} is {dict(class_weight)}; use {_CHOICES}.'
                ) from error
        else:
            given = self._checked(class_weight)
        self.register_buffer('given', given, persistent=False)
        self.register_buffer('active', torch.tensor(True))

    def set_deferred(self, active: bool) -> None:
        """Whether the weights hold; otherwise all are 1."""
        self.active.fill_(active)

    def forward(self, counts: ClassCountsBuffer) -> Tensor:
        """The (C,) float32 weights.

        Args:
            counts: of the classes; not used where weights were given.

        Raises:
            RuntimeError: if they are needed and none have been given.
        """
        weights = self.given if self.of_counts is None else counts.derived(self.of_counts)
        return torch.where(self.active, weights, 1.0)

    def warn_if_alike(self, counts: Tensor) -> None:
        """Say so where weights of uneven counts hardly differ."""
        if self.of_counts is None:
            return
        present = counts > 0
        counts, weights = counts[present], self.of_counts(counts)[present]
        if counts.max() > 1.01 * counts.min() and weights.max() <= 1.01 * weights.min():
            warnings.warn(
                f'class_weight={dict(self.class_weight)} of {self.owner} weighs all classes alike, '
                f'because even the rarest has {counts.min().item()} samples; use '
                "dict(type='inverse', power=...), or counts of images in place of pixels.",
                stacklevel=2,
            )

    def _checked(self, class_weight: Sequence[float]) -> Tensor:
        try:
            weights = torch.as_tensor(class_weight, dtype=torch.float32).clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f'class_weight of {self.owner} is {class_weight!r:.80}; use {_CHOICES}.'
            ) from error
        if weights.ndim != 1 or not (weights.isfinite() & (weights >= 0)).all():
            raise ValueError(
                f'class_weight of {self.owner} is {class_weight!r:.80}, but it must be one finite '
                'number of zero or more for each class.'
            )
        return weights

    def extra_repr(self) -> str:
        """What the weights come from."""
        return f'{self.class_weight!r:.80}'


def weighs_classes(module: nn.Module) -> bool:
    """Whether a loss, of this package or of the mm packages, gives classes weights that differ.

    Args:
        module: any.
    """
    weights = getattr(module, 'class_weights', None)
    if isinstance(module, ClassWeights):
        # Its loss tells.
        return False
    if isinstance(weights, ClassWeights):
        # A power or a beta of 0 weighs all alike.
        own = weights.given if weights.of_counts is None else weights.of_counts([1, 2])
    else:
        own = getattr(module, 'class_weight', None)
    own = own.tolist() if hasattr(own, 'tolist') else own
    return isinstance(own, list | tuple) and len(set(own)) > 1
