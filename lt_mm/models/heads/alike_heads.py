"""Whether the logits of several decode heads can be averaged."""

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

_ALIKE = ('num_classes', 'out_channels', 'align_corners', 'ignore_index')


def check_alike(experts: Sequence[nn.Module]) -> None:
    """Refuse heads whose maps of logits cannot be averaged.

    Raises:
        ValueError: naming the expert.
    """
    for index, expert in enumerate(experts):
        kind = type(expert)
        methods = ('loss', 'predict')
        if not isinstance(expert, BaseDecodeHead) or any(
            getattr(kind, method) is not getattr(BaseDecodeHead, method) for method in methods
        ):
            raise ValueError(
                f'expert{index} is a {kind.__name__}, which gives more than one map of logits; '
                'choose a head that trains and predicts as BaseDecodeHead of mmsegmentation does.'
            )
        for name in _ALIKE:
            first, other = getattr(experts[0], name), getattr(expert, name)
            if other != first:
                raise ValueError(
                    f'{name} is {first} for expert0 and {other} for expert{index}, but must be the '
                    f'same for all; give {name} beside experts instead of in them.'
                )
    if experts[0].out_channels != experts[0].num_classes:
        raise ValueError(
            f'the experts have out_channels={experts[0].out_channels} for '
            f'{experts[0].num_classes} classes, but MultiExpertDecodeHead needs one output channel '
            'a class.'
        )
