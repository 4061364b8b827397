"""Decode heads whose classifier sees the direction of features, not their norm."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F


class NormalizedConv2d(nn.Conv2d):
    """A 1x1 convolution of unit vectors: (N, D, h, w) to (N, C, h, w).

    Logits are in float32, also under autocast and in half precision.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise the feature of every pixel, and classify it."""
        with torch.autocast(features.device.type, enabled=False):
            directions = F.normalize(features.float(), dim=1)
            return F.conv2d(directions, self.weight.float(), self.bias.float())


@MODELS.register_module(name='NormalizedDecodeHead', force=True)
def normalized_decode_head(base: str, **settings: Any) -> nn.Module:
    """A decode head with a :class:`NormalizedConv2d` as ``conv_seg``.

    Args:
        base: type of the head, as a config of mmsegmentation names it.
        settings: its arguments.
    """
    head = MODELS.build(dict(type=base, **settings))
    plain = head.conv_seg
    head.conv_seg = NormalizedConv2d(plain.in_channels, plain.out_channels, kernel_size=1)
    return head
