"""Classifying heads whose classifier sees the direction of features, not their norm."""

from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F


class NormalizedLinear(nn.Linear):
    """A linear layer of unit vectors, (N, D) to (N, C): of differences from a centre, (D,).

    Logits are in float32, also under autocast and in half precision.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer('centre', torch.zeros(in_features))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise every feature, and classify it."""
        with torch.autocast(features.device.type, enabled=False):
            directions = F.normalize(features.float() - self.centre.float(), dim=1)
            return F.linear(directions, self.weight.float(), self.bias.float())


@MODELS.register_module(name='NormalizedClsHead', force=True)
def normalized_cls_head(base: str, classifier: str, **settings: Any) -> nn.Module:
    """A head with a :class:`NormalizedLinear` as classifier.

    Args:
        base: type of the head, as a config of mmpretrain names it.
        classifier: where in the head its last linear layer is, such as 'fc'.
        settings: its arguments.
    """
    head = MODELS.build(dict(type=base, **settings))
    owner, _, name = classifier.rpartition('.')
    plain = head.get_submodule(classifier)
    layer = NormalizedLinear(plain.in_features, plain.out_features)
    setattr(head.get_submodule(owner), name, layer)
    return head
