"""Backbones that mmpretrain lacks."""

from lt_mm.models.shipped.resnet_cifar_6n2 import ResNetCifar6n2
from lt_mm.models.shipped.scaled_resnets import (
    ScaledResNet,
    ScaledResNetCIFAR,
    ScaledResNetV1c,
    ScaledResNetV1d,
    ScaledResNeXt,
)
from lt_mm.registry import MODELS

from .expert_weights import multi_expert_weights, plain_weights
from .multi_expert_resnet import MultiExpertResNet, expert_backbone

# They are mmpretrain's, so that exported models can bring them along.
for _backbone in (
    ResNetCifar6n2,
    ScaledResNeXt,
    ScaledResNet,
    ScaledResNetCIFAR,
    ScaledResNetV1c,
    ScaledResNetV1d,
):
    MODELS.register_module(module=_backbone)

__all__ = [
    'MultiExpertResNet',
    'ResNetCifar6n2',
    'ScaledResNeXt',
    'ScaledResNet',
    'ScaledResNetCIFAR',
    'ScaledResNetV1c',
    'ScaledResNetV1d',
    'expert_backbone',
    'multi_expert_weights',
    'plain_weights',
]
