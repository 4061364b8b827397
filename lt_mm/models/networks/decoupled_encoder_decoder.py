"""EncoderDecoder whose last layers alone are trained."""

from collections.abc import Iterator
from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from torch import nn

from lt_mm.models.networks.frozen_encoder_mixin import FrozenEncoderMixin
from lt_mm.registry import MODELS

_OF_THE_CLASSIFIER = ('conv_seg', 'dropout', 'alignment', 'post_compensation', 'loss_decode')


@MODELS.register_module()
class DecoupledEncoderDecoder(FrozenEncoderMixin, EncoderDecoder):
    """An EncoderDecoder in the second stage of decoupled training.

    It has the weights of an EncoderDecoder of the same parts, and predicts as that does.

    Args:
        args: those of mmsegmentation's EncoderDecoder.
        freeze_encoder: whether backbone and neck are frozen; False trains everything.
        freeze_decode_head: whether all of the decode head that comes before its classifier,
            ``conv_seg``, is frozen too.
        frozen_batch_norm: 'eval' or 'statistics', see
            :class:`~lt_mm.models.layers.FrozenEncoderMixin`.
        kwargs: further ones of EncoderDecoder.

    Raises:
        ValueError: if the decode head is to be frozen without the encoder, or has no ``conv_seg``;
            if there is an auxiliary head, which a frozen encoder cannot learn from; or for another
            policy, or one that nothing frozen could follow.

    Source: Kang et al., ICLR 2020; Zhang et al., CVPR 2021.
    """

    def __init__(
        self,
        *args: Any,
        freeze_encoder: bool = True,
        freeze_decode_head: bool = False,
        frozen_batch_norm: str = 'eval',
        **kwargs: Any,
    ) -> None:
        # frozen_parts is called before this method goes on.
        self.freeze_decode_head = freeze_decode_head
        super().__init__(
            *args, freeze_encoder=freeze_encoder, frozen_batch_norm=frozen_batch_norm, **kwargs
        )
        name = type(self).__name__
        if freeze_decode_head and not freeze_encoder:
            raise ValueError(
                f'freeze_decode_head of {name} needs freeze_encoder=True; set it, or leave '
                'freeze_decode_head out.'
            )
        if freeze_encoder and self.with_auxiliary_head:
            raise ValueError(
                f'the auxiliary head of {name} has nothing to teach, because the encoder is '
                'frozen; set model.auxiliary_head=None.'
            )
        if freeze_decode_head:
            for parameter in self.decode_head.parameters(recurse=False):
                parameter.requires_grad_(False)

    def frozen_parts(self) -> Iterator[nn.Module]:
        """Backbone and neck and, where asked for, what precedes the classifier in the head."""
        yield from super().frozen_parts()
        if not self.freeze_decode_head:
            return
        if not isinstance(getattr(self.decode_head, 'conv_seg', None), nn.Module):
            raise ValueError(
                f'the decode head {type(self.decode_head).__name__} has no conv_seg, so what '
                'precedes its classifier is unknown; leave freeze_decode_head out.'
            )
        for name, part in self.decode_head.named_children():
            if name not in _OF_THE_CLASSIFIER:
                yield part
