"""Several decode heads on the same features whose logits are averaged."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module(force=True)
class MeanOfHeads(BaseModule):
    """A decode head that predicts the weighted mean of the logits of several.

    It needs mmsegmentation alone and is for inference. Maps of different sizes are brought to the
    largest one.

    Args:
        experts: configs of E decode heads of the same classes.

    Attributes:
        expert_weights: (E,) buffer, 1 / E each unless something else was loaded.
    """

    def __init__(self, experts: Sequence[dict]) -> None:
        super().__init__()
        self.experts = ModuleList([MODELS.build(expert) for expert in experts])
        self.register_buffer('expert_weights', torch.full((len(experts),), 1 / len(experts)))
        first = self.experts[0]
        self.num_classes = first.num_classes
        self.out_channels = first.out_channels
        self.align_corners = first.align_corners

    def expert_maps(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Logits of every expert, each (N, C, h, w) of its own size, for the features of levels."""
        return [expert(inputs) for expert in self.experts]

    def expert_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of every expert as one tensor, (E, N, C, h, w), of the largest size."""
        return torch.stack(self.of_one_size(self.expert_maps(inputs)))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Weighted mean of the logits, (N, C, h, w)."""
        maps = self.of_one_size(self.expert_maps(inputs))
        return sum(weight * one for weight, one in zip(self.expert_weights, maps, strict=True))

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict | None
    ) -> Tensor:
        """The logits of :meth:`forward` at the size of the images, (N, C, H, W)."""
        return self.experts[0].predict_by_feat(self(inputs), batch_img_metas)

    def of_one_size(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of logits, (N, C, h, w), at the size of the largest."""
        size = max((one.shape[2:] for one in maps), key=lambda shape: shape.numel())
        return [
            one
            if one.shape[2:] == size
            else resize(one, size=size, mode='bilinear', align_corners=self.align_corners)
            for one in maps
        ]
