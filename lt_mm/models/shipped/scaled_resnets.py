"""mmpretrain's ResNets with the width of each stage multiplied by a factor of its own."""

from collections.abc import Sequence
from math import inf
from typing import Any

from mmpretrain.models.backbones import ResNet, ResNet_CIFAR, ResNetV1c, ResNetV1d, ResNeXt
from mmpretrain.registry import MODELS
from torch import nn


class ScaledStagesMixin:
    """Other widths for stages, in ``class ScaledMyResNet(ScaledStagesMixin, MyResNet): pass``.

    ``base_channels`` of mmpretrain's ResNets scales all stages alike. Here a stage has
    ``base_channels * 2**i`` planes times its factor, to the nearest whole number, and takes what
    the stage before it gives. The stem has ``stem_channels`` as ever.

    Args:
        args: those of the ResNet.
        stage_factors: a positive number for each stage. None for a 1 each.
        kwargs: those of the ResNet.

    Raises:
        ValueError: if the factors do not fit, or a grouped stage cannot have that width.
    """

    def __init__(
        self, *args: Any, stage_factors: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        self.stage_factors = stage_factors
        super().__init__(*args, **kwargs)

    def make_res_layer(self, in_channels: int, out_channels: int, **kwargs: Any) -> nn.Module:
        """The stage after those in ``res_layers``, of the width that its factor gives."""
        factors = (1.0,) * self.num_stages if self.stage_factors is None else self.stage_factors
        if len(factors) != self.num_stages or not all(0 < factor < inf for factor in factors):
            raise ValueError(
                f'stage_factors of {type(self).__name__} are {factors}: give one positive number '
                f'for each of its {self.num_stages} stages.'
            )
        stage = len(self.res_layers)
        if stage > 0:
            in_channels = getattr(self, self.res_layers[-1])[-1].out_channels
        planes = max(round(out_channels // self.expansion * factors[stage]), 1)
        if getattr(self, 'groups', 1) > 1 and planes % self.base_channels:
            raise ValueError(
                f'stage {stage + 1} of {type(self).__name__} would have {planes} planes with the '
                f'factor {factors[stage]}, but grouped convolutions need a multiple of '
                f'{self.base_channels} here: choose another factor for this stage.'
            )
        return super().make_res_layer(
            in_channels=in_channels, out_channels=planes * self.expansion, **kwargs
        )


@MODELS.register_module(force=True)
class ScaledResNet(ScaledStagesMixin, ResNet):
    """:class:`ScaledStagesMixin` over mmpretrain's ResNet."""


@MODELS.register_module(force=True)
class ScaledResNetV1c(ScaledStagesMixin, ResNetV1c):
    """:class:`ScaledStagesMixin` over mmpretrain's ResNetV1c."""


@MODELS.register_module(force=True)
class ScaledResNetV1d(ScaledStagesMixin, ResNetV1d):
    """:class:`ScaledStagesMixin` over mmpretrain's ResNetV1d."""


@MODELS.register_module(force=True)
class ScaledResNeXt(ScaledStagesMixin, ResNeXt):
    """:class:`ScaledStagesMixin` over mmpretrain's ResNeXt."""


@MODELS.register_module(force=True)
class ScaledResNetCIFAR(ScaledStagesMixin, ResNet_CIFAR):
    """:class:`ScaledStagesMixin` over mmpretrain's ResNet_CIFAR, of four stages."""
