"""ImageClassifier whose classifier alone is trained."""

from typing import Any

from mmpretrain.models.classifiers import ImageClassifier

from lt_mm.models.networks.frozen_encoder_mixin import FrozenEncoderMixin
from lt_mm.registry import MODELS


@MODELS.register_module()
class DecoupledClassifier(FrozenEncoderMixin, ImageClassifier):
    """An ImageClassifier in the second stage of decoupled training: backbone and neck are frozen.

    It has the weights of an ImageClassifier of the same parts, and predicts as that does.

    Args:
        args: those of mmpretrain's ImageClassifier.
        freeze_encoder: False trains everything.
        frozen_batch_norm: 'eval' or 'statistics', see
            :class:`~lt_mm.models.layers.FrozenEncoderMixin`.
        kwargs: further ones of ImageClassifier.

    Raises:
        ValueError: for another policy, or one that nothing frozen could follow.

    Source: Kang et al., ICLR 2020; Zhong et al., CVPR 2021.
    """

    def __init__(
        self,
        *args: Any,
        freeze_encoder: bool = True,
        frozen_batch_norm: str = 'eval',
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args, freeze_encoder=freeze_encoder, frozen_batch_norm=frozen_batch_norm, **kwargs
        )
