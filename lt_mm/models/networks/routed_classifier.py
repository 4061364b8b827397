"""A classifier that computes no expert that is not asked."""

from typing import Any

from mmpretrain.structures import DataSample
from torch import Tensor

from lt_mm.models.backbones import MultiExpertResNet
from lt_mm.models.heads import RoutedClsHead
from lt_mm.models.networks.decoupled_classifier import DecoupledClassifier
from lt_mm.registry import MODELS


@MODELS.register_module()
class RoutedClassifier(DecoupledClassifier):
    """A :class:`MultiExpertResNet` with a :class:`RoutedClsHead`, trained with a frozen backbone.

    In a prediction every expert runs on the images that ask it and on no others. All other modes
    are those of an ImageClassifier, where all experts run.

    Args:
        args: those of :class:`DecoupledClassifier`.
        kwargs: likewise.

    Raises:
        ValueError: for another backbone or head.

    Source: Wang et al., ICLR 2021 (RIDE).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for part, wanted in ((self.backbone, MultiExpertResNet), (self.head, RoutedClsHead)):
            if not isinstance(part, wanted):
                raise ValueError(
                    f'{type(self).__name__} has a {type(part).__name__} and needs a '
                    f'lt_mm.{wanted.__name__} in its place.'
                )

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any
    ) -> list[DataSample]:
        """Predictions, with the number of experts that each image asked.

        Args:
            inputs: (N, C, H, W).
            data_samples: N to be filled in. Defaults to new ones.
            kwargs: not used.
        """
        common = inputs if self.backbone.shared is None else self.backbone.shared(inputs)[-1]

        def features_of(expert: int, rows: Tensor) -> Tensor:
            stages = self.backbone.experts[expert](common[rows])
            stages = tuple(stage.unsqueeze(1) for stage in stages)
            return (self.neck(stages) if self.with_neck else stages)[-1][:, 0]

        routed = self.head.route(features_of, len(inputs))
        return self.head.predictions(*routed, data_samples)
