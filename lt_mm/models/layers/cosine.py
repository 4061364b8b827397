"""Cosine classifiers: logits depend on angles only, so head classes cannot win by weight norm."""

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.functional import check_temperature
from lt_mm.registry import MODELS


@MODELS.register_module()
class CosineLinear(BaseModule):
    """Cosine similarity to one unit vector a class, divided by a temperature.

    The weight starts as random unit vectors; since its norm is irrelevant to the output but
    divides its gradient, this initial norm of 1 is what makes the layer learn as fast as its
    input does.

    It loads the weight of a linear layer and that of a convolution of single pixels, too.

    Args:
        in_channels: D, width of the features.
        num_classes: C.
        temperature: tau_s of eq. 7.

    Shape:
        (N, D) to (N, C).

    Raises:
        ValueError: if the temperature is not positive and finite.

    Source: Gidaris and Komodakis, CVPR 2018; Suh and Seo, ICML 2023, eqs. 7 and 8 (m_x, m_c).
    """

    def __init__(self, in_channels: int, num_classes: int, temperature: float = 0.05) -> None:
        super().__init__()
        check_temperature(temperature, 'of the cosine classifier', 'the usual range is 0.03 to 0.1')
        self.temperature = temperature
        self.weight = nn.Parameter(torch.empty(num_classes, in_channels))
        # As in a linear layer without one.
        self.register_parameter('bias', None)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw directions uniformly, of norm 1."""
        with torch.no_grad():
            self.weight.copy_(F.normalize(torch.randn_like(self.weight), dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the features, in float32 or wider also under autocast.

        Divided by a small temperature, cosines in half precision would be too coarse.
        """
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            cosine = self._product(
                F.normalize(features.to(dtype), dim=1), F.normalize(self.weight.to(dtype), dim=1)
            )
        return cosine / self.temperature

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # That of a convolution of single pixels, as plain heads have one, has two axes more.
        weight = state_dict.get(f'{prefix}weight')
        if weight is not None and weight.ndim > 2 and weight.shape[2:].numel() == 1:
            state_dict[f'{prefix}weight'] = weight.flatten(1)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @staticmethod
    def _product(features: Tensor, weight: Tensor) -> Tensor:
        return F.linear(features, weight)

    def extra_repr(self) -> str:
        """Sizes and temperature."""
        num_classes, in_channels = self.weight.shape[:2]
        return f'{in_channels}, {num_classes}, temperature={self.temperature}'


@MODELS.register_module()
class CosineConv2d(CosineLinear):
    """:class:`CosineLinear` at every pixel: (N, D, H, W) to (N, C, H, W)."""

    @staticmethod
    def _product(features: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(features, weight[:, :, None, None])
