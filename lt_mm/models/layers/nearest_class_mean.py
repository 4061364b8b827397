"""A linear classifier that compares with class means at test time."""

import torch
from torch import Tensor, nn

from lt_mm.functional.nearest_mean import (
    FEATURES,
    METRICS,
    nearest_mean_logits,
    normalize_features,
)
from lt_mm.registry import MODELS


@MODELS.register_module()
class NearestClassMeanLinear(nn.Linear):
    """A linear layer in training; in eval mode the logits tell which class mean is nearest.

    The means are buffers that ``lt_mm.ClassMeansHook`` fills before every validation and test, and
    for every checkpoint, so that inference needs no training set. A step of training forgets them,
    since the features change. A class without a sample scores minus infinity. The weights are those
    of an ``nn.Linear``.

    Args:
        in_channels: D, width of the features.
        num_classes: C.
        features: 'un', 'l2n' or 'cl2n', see :func:`lt_mm.functional.normalize_features`. The
            means are those of the features so prepared, and not normalised themselves.
        metric: 'l2' or 'dot', see :func:`lt_mm.functional.nearest_mean_logits`.

    Raises:
        ValueError: for other features or another metric.
        RuntimeError: when used in eval mode without means.

    Source: Kang et al., ICLR 2020 (NCM); the defaults of its public code.
    """

    def __init__(
        self, in_channels: int, num_classes: int, features: str = 'cl2n', metric: str = 'l2'
    ) -> None:
        super().__init__(in_channels, num_classes)
        for argument, value, known in (
            ('features', features, FEATURES),
            ('metric', metric, METRICS),
        ):
            if value not in known:
                raise ValueError(
                    f'{argument} of NearestClassMeanLinear is {value!r}; choose from '
                    f'{", ".join(map(repr, known))}.'
                )
        self.features = features
        self.metric = metric
        self.register_buffer('means', torch.zeros(num_classes, in_channels))
        self.register_buffer('centre', torch.zeros(in_channels))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def set_class_means(self, means: Tensor, counts: Tensor, centre: Tensor | None = None) -> None:
        """Take over the means of the training set.

        Args:
            means: (C, D), of features prepared as ``features`` says.
            counts: (C,), samples of each class; the mean of a class with none is not looked at.
            centre: (D,), the mean of all features as they are, for 'cl2n'.
        """
        self.counts.copy_(counts)
        self.means.copy_(means.nan_to_num())
        if centre is not None:
            self.centre.copy_(centre)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to (N, C)."""
        if self.training:
            if torch.is_grad_enabled():
                self.counts.zero_()
            return super().forward(features)
        if not self.counts.any():
            raise RuntimeError(
                'NearestClassMeanLinear has no class means of its present weights; add '
                "dict(type='lt_mm.ClassMeansHook') to the custom_hooks of the config, which "
                'computes them before validation and test, or call set_class_means.'
            )
        dtype = torch.promote_types(features.dtype, torch.float32)
        # In half precision, distances between close means would be too coarse.
        with torch.autocast(features.device.type, enabled=False):
            prepared = normalize_features(features.to(dtype), self.features, self.centre)
            logits = nearest_mean_logits(prepared, self.means, self.metric)
        return logits.masked_fill(self.counts == 0, -torch.inf)

    def extra_repr(self) -> str:
        """Sizes and settings."""
        return f'{super().extra_repr()}, features={self.features!r}, metric={self.metric!r}'
