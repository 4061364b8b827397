"""The model of mmsegmentation alone that predicts what a segmentor with parts of lt_mm does."""

from collections.abc import Mapping

from mmseg.registry import MODELS
from torch import Tensor

from lt_mm.checkpoints import TRAINING_ONLY
from lt_mm.export.experts import plain_experts
from lt_mm.export.plain_model import (
    PlainHead,
    PlainModel,
    Task,
    above,
    below,
    is_a,
    plain_head,
    plain_model,
    refuse_plain,
)
from lt_mm.models.heads import MultiExpertDecodeHead
from lt_mm.models.shipped import mean_of_heads, normalized_decode_head  # noqa: F401

SEGMENTATION = Task(MODELS, 'decode_head', 'loss_decode', 'lt_mm.LongTailHead')


def plain_segmentor(
    model: Mapping,
    weights: Mapping[str, Tensor],
    expert: int | None = None,
    shift: Tensor | None = None,
) -> PlainModel:
    """Replace or leave out what is of lt_mm in a segmentor; predictions stay the same.

    A linear classifier stays as it is. The weight of a cosine one is normalised and divided by the
    temperature once, here; its features have to be normalised at every image, which a shipped
    wrapper of the plain head does. Without that, each pixel would weigh by the norm of its feature
    when the logits are upsampled. Auxiliary heads, losses, queues, embeddings and teachers are left
    out. Several experts become a head of their mean, or the one that is to predict alone.

    Args:
        model: ``model`` of a config, whose types are names; left as it is, as are the weights.
        weights: its ``state_dict``.
        expert: which predicts alone, from 0; None for what the config says.
        shift: (C,), added to the logits; a plain model is accepted with it.

    Raises:
        ValueError: if the model has no decode head, no such expert, nothing of lt_mm, or a part of
            lt_mm that cannot be replaced, or if the weights do not fit it.
    """
    head = model.get('decode_head')
    if head is None:
        raise ValueError(
            f'the model is a {model.get("type")} without decode_head; give the config of a '
            'segmentor of mmsegmentation.'
        )
    if shift is None:
        refuse_plain(SEGMENTATION, model)
    kept = {name: value for name, value in weights.items() if not TRAINING_ONLY.match(name)}
    if is_a(MODELS, head, MultiExpertDecodeHead):
        found = plain_experts(SEGMENTATION, head, below(kept, 'decode_head.'), expert, shift)
    elif expert is not None:
        raise ValueError(
            f'expert is {expert}, but the decode_head is no lt_mm.MultiExpertDecodeHead; leave it '
            'out.'
        )
    elif isinstance(head, Mapping):
        found = plain_head(SEGMENTATION, head, below(kept, 'decode_head.'), shift)
    else:
        found = _cascade(head, kept, shift)
    others = {name: value for name, value in kept.items() if not name.startswith('decode_head.')}
    return plain_model(
        SEGMENTATION,
        {**model, 'decode_head': found.config},
        {**others, **above(found.weights, 'decode_head.')},
    )


def _cascade(
    heads: list[Mapping], weights: Mapping[str, Tensor], shift: Tensor | None
) -> PlainHead:
    shifts = [*(None,) * (len(heads) - 1), shift]
    found = [
        plain_head(SEGMENTATION, head, below(weights, f'decode_head.{stage}.'), shifts[stage])
        for stage, head in enumerate(heads)
    ]
    merged = {}
    for stage, head in enumerate(found):
        merged |= above(head.weights, f'{stage}.')
    return PlainHead([head.config for head in found], merged)
