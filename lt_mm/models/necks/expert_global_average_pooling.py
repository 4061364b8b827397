"""Global average pooling that keeps the axis of experts."""

from mmpretrain.models.necks import GlobalAveragePooling
from torch import Tensor

from lt_mm.registry import MODELS


@MODELS.register_module()
class ExpertGlobalAveragePooling(GlobalAveragePooling):
    """mmpretrain's GlobalAveragePooling for the features of each expert of a MultiExpertResNet."""

    def __init__(self) -> None:
        super().__init__(dim=2)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Average over the pixels.

        Args:
            inputs: features of one or more stages, (N, E, C, H, W).

        Returns:
            (N, E, C) for each of them.

        Raises:
            ValueError: if features have no axis of experts.
        """
        for features in inputs:
            if features.ndim != 5:
                raise ValueError(
                    f'ExpertGlobalAveragePooling was given features of shape '
                    f'{tuple(features.shape)} and wants (N, experts, C, H, W): use it behind '
                    'lt_mm.MultiExpertResNet, and GlobalAveragePooling behind other backbones.'
                )
        return tuple(self.gap(x.flatten(0, 1)).reshape(x.shape[:3]) for x in inputs)
