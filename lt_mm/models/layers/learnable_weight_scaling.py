"""One learnable factor a class behind a classifier."""

import torch
from torch import Tensor, nn

from lt_mm.functional.class_axis import along_classes
from lt_mm.registry import MODELS


@MODELS.register_module()
class LearnableWeightScaling(nn.Module):
    """Multiply the logits of each class, the bias included, by a factor that starts at 1.

    Behind a frozen classifier it is LWS of Kang et al.; MiSLAS tunes the classifier with it, at
    a smaller learning rate.

    Args:
        num_classes: C.
        in_channels: not used; every alignment of a head is given it.

    Source: Kang et al., ICLR 2020 (LWS); Zhong et al., CVPR 2021 (MiSLAS).
    """

    def __init__(self, num_classes: int, in_channels: int | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_classes))

    def forward(self, logits: Tensor, features: Tensor | None = None) -> Tensor:
        """Scale (N, C, ...) logits; the features are not looked at."""
        return along_classes(self.scale, logits) * logits

    def extra_repr(self) -> str:
        """Number of classes."""
        return f'{len(self.scale)}'
