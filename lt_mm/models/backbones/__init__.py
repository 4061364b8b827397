"""Backbones that mmpretrain lacks."""

from .expert_weights import multi_expert_weights, plain_weights
from .multi_expert_resnet import MultiExpertResNet, expert_backbone
from .resnet_cifar_6n2 import ResNetCifar6n2
from .scaled_resnets import (
    ScaledResNet,
    ScaledResNetCIFAR,
    ScaledResNetV1c,
    ScaledResNetV1d,
    ScaledResNeXt,
)

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
