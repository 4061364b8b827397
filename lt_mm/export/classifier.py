"""The classifier of mmpretrain alone that predicts what one with parts of lt_mm does."""

from collections.abc import Mapping

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from lt_mm.checkpoints import TRAINING_ONLY
from lt_mm.export.experts import configs_of_experts
from lt_mm.export.folding import fold, total_shift
from lt_mm.export.plain_model import (
    PlainHead,
    PlainModel,
    Task,
    above,
    below,
    is_a,
    kind_of,
    plain_head,
    plain_model,
    plain_name,
    refuse_plain,
    trained,
)
from lt_mm.models.backbones import MultiExpertResNet, expert_backbone, plain_weights
from lt_mm.models.heads import MultiExpertClsHead, ResLTClsHead
from lt_mm.models.necks import ExpertGlobalAveragePooling
from lt_mm.models.shipped import normalized_cls_head  # noqa: F401

CLASSIFICATION = Task(MODELS, 'head', 'loss', 'lt_mm.LongTailClsHead')


def plain_classifier(
    model: Mapping,
    weights: Mapping[str, Tensor],
    expert: int | None = None,
    shift: Tensor | None = None,
) -> PlainModel:
    """Replace or leave out what is of lt_mm in a classifier; predictions stay the same.

    Classifier, alignment and post-compensation become one linear layer. Where that sees normalised
    features, a shipped wrapper of the plain head has it. The branches of ResLT become one layer.
    Of several experts, one is taken, with what it shares.

    Args:
        model: ``model`` of a config, whose types are names; left as it is, as are the weights.
        weights: its ``state_dict``.
        expert: which of several, from 0.
        shift: (C,), added to the logits; a plain model is accepted with it.

    Raises:
        ValueError: if the model has no head, nothing of lt_mm, experts of which none is chosen, or
            a part that cannot be replaced, or if the weights do not fit it.
    """
    head = model.get('head')
    if not isinstance(head, Mapping):
        raise ValueError(
            f'the model is a {model.get("type")} without decode_head and head; give the config of '
            'a segmentor of mmsegmentation, or of a classifier of mmpretrain.'
        )
    if shift is None:
        refuse_plain(CLASSIFICATION, model)
    kept = {name: value for name, value in weights.items() if not TRAINING_ONLY.match(name)}
    if is_a(MODELS, head, MultiExpertClsHead):
        model, kept = _one_expert(model, kept, expert)
    elif expert is not None:
        raise ValueError(
            f'expert is {expert}, but the head is a {head["type"]!r} without experts; leave it out.'
        )
    head, own = model['head'], below(kept, 'head.')
    if is_a(MODELS, head, ResLTClsHead):
        found = _sum_of_branches(head, own, shift)
        if model.get('neck') is None:
            model = {**model, 'neck': dict(type='GlobalAveragePooling')}
    else:
        found = plain_head(CLASSIFICATION, head, own, shift)
    others = {name: value for name, value in kept.items() if not name.startswith('head.')}
    return plain_model(
        CLASSIFICATION,
        {**model, 'head': found.config},
        {**others, **above(found.weights, 'head.')},
    )


def _one_expert(
    model: Mapping, weights: Mapping[str, Tensor], expert: int | None
) -> tuple[dict, dict[str, Tensor]]:
    """The model of one expert and what it shares, and its weights."""
    head = model['head']
    number = len(head['experts'])
    if expert is None or not 0 <= expert < number:
        raise ValueError(
            f'expert is {expert}, but the model has {number}: choose one from 0 to {number - 1}.'
        )
    wanted = dict(backbone=MultiExpertResNet)
    if model.get('neck') is not None:
        wanted['neck'] = ExpertGlobalAveragePooling
    for part, kind in wanted.items():
        if not is_a(MODELS, model.get(part), kind):
            raise ValueError(
                f'the {part} is a {(model.get(part) or {}).get("type")!r} and no {kind.__name__}, '
                f'so it is unknown what expert {expert} of it is; predict with lt_mm.'
            )
    arguments = ('backbone', 'shared_stages', 'width_factor')
    backbone = expert_backbone(**{k: v for k, v in model['backbone'].items() if k in arguments})
    backbone['type'] = plain_name(backbone['type'])
    kind = kind_of(MODELS, head)
    sizes = {name: head[name] for name in ('num_classes', 'in_channels')}
    single = configs_of_experts(kind, head, type='lt_mm.LongTailClsHead', **sizes)[expert]
    if head.get('post_compensation') is not None:
        single['post_compensation'] = head['post_compensation']
    plain = {**model, 'backbone': backbone, 'head': single}
    if model.get('neck') is not None:
        plain['neck'] = dict(type='GlobalAveragePooling')
    own = plain_weights(below(weights, 'backbone.'), expert)
    return plain, {
        **above(own, 'backbone.'),
        **above(below(weights, f'head.experts.{expert}.'), 'head.'),
    }


def _sum_of_branches(
    config: Mapping, weights: Mapping[str, Tensor], shift: Tensor | None
) -> PlainHead:
    """One linear layer in place of the branches of ResLT, which are linear maps in eval mode."""
    head = trained(CLASSIFICATION, config, weights)
    layer = fold(head.fc)
    if layer.normalized:
        raise ValueError(
            'each branch of ResLTClsHead has features of another norm, so that no single layer '
            "does what its classifier does; only classifier='linear' can be exported."
        )
    if not all(isinstance(branch, nn.BatchNorm2d) for branch in head.branches):
        raise ValueError(
            "the branches of ResLTClsHead(branch='conv') have ReLUs, so that no single layer does "
            "what they do; only branch='norm' can be exported."
        )
    maps = [_affine_map(branch) for branch in head.branches]
    matrix, offset = (sum(parts) for parts in zip(*maps, strict=True))
    summed = nn.Linear(head.in_channels, head.num_classes)
    with torch.no_grad():
        weight = layer.weight.double()
        summed.weight.copy_(weight @ matrix)
        summed.bias.copy_(weight @ offset + len(maps) * layer.bias.double())
    shift = total_shift(head, shift)
    folded = fold(summed, None, shift)
    plain = dict(
        type='LinearClsHead',
        num_classes=head.num_classes,
        in_channels=head.in_channels,
        loss=dict(type='CrossEntropyLoss'),
    )
    return PlainHead(plain, {'fc.weight': folded.weight, 'fc.bias': folded.bias})


def _affine_map(branch: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(D, D) matrix and (D,) offset of a normalisation, of the mean over places."""
    gain = branch.weight.detach().double() / (branch.running_var.double() + branch.eps).sqrt()
    return gain.diag(), branch.bias.detach().double() - gain * branch.running_mean.double()
