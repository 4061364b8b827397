"""Classifier, alignment and post-compensation of a trained head as one layer of torch."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.functional.weight_norm import tau_normalize
from lt_mm.models.layers import (
    CosineLinear,
    DisAlign,
    LearnableWeightScaling,
    NearestClassMeanLinear,
    TauNormConv2d,
    TauNormLinear,
)


class LinearLayer(NamedTuple):
    """What a linear layer, or a convolution, predicts the same with."""

    weight: Tensor
    """(C, D), or (C, D, k, k) of a convolution."""
    bias: Tensor
    """(C,)."""
    normalized: bool = False
    """Whether the layer sees features divided by their norm."""
    centre: Tensor | None = None
    """(D,), subtracted from the features before that."""


def fold(
    layer: nn.Module, alignment: nn.Module | None = None, shift: Tensor | None = None
) -> LinearLayer:
    """The one layer with the predictions of a classifier and of what comes behind it.

    The logits are the same. Only those of the nearest class mean by the 'l2' metric lack the
    squared norm of the feature, which is one number for all classes, so that their softmax is the
    same.

    Args:
        layer: classifier in its trained state.
        alignment: what its logits go through, likewise.
        shift: (C,), added to the logits in the end.

    Raises:
        ValueError: if no layer predicts the same; it says why.
    """
    folded, squares = _classifier(layer)
    weight, bias = folded.weight.double(), folded.bias.double()
    if alignment is not None:
        gain, offset = _affine(alignment)
        weight = weight * gain.reshape(-1, *(1,) * (weight.ndim - 1))
        bias, squares = bias * gain + offset, squares * gain
    if shift is not None:
        bias = bias + shift.double()
    if folded.normalized:
        # The features have a squared norm of 1.
        bias = bias + squares
    elif (squares != squares[0]).any():
        raise ValueError(
            'the alignment multiplies the distances of each class by a factor of its own, which no '
            "linear layer does for features that are not normalised; use features='l2n' or 'cl2n'."
        )
    return folded._replace(weight=weight.float(), bias=bias.float())


def total_shift(head: nn.Module, shift: Tensor | None = None) -> Tensor | None:
    """What is added to the logits of a head, (C,): by its post-compensation, and besides.

    Args:
        head: in its trained state.
        shift: (C,), what is added besides.

    Returns:
        None where nothing is added.

    Raises:
        ValueError: if the post-compensation has no class counts of the training.
    """
    if head.post_compensation is None:
        return shift
    try:
        own = head.post_compensation.eval()(torch.zeros(1, head.num_classes))[0]
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return own if shift is None else own + shift


def _classifier(layer: nn.Module) -> tuple[LinearLayer, Tensor]:
    """The layer without alignment, and (C,) factors of the squared norm of the feature it sees."""
    weight = layer.weight.detach().double()
    none = torch.zeros(len(weight), dtype=torch.float64)
    bias = none if getattr(layer, 'bias', None) is None else layer.bias.detach().double()
    if type(layer) in (nn.Linear, nn.Conv2d):
        return LinearLayer(weight, bias), none
    if isinstance(layer, CosineLinear):
        return LinearLayer(F.normalize(weight, dim=1) / layer.temperature, none, True), none
    if isinstance(layer, TauNormLinear | TauNormConv2d):
        bias = bias if layer.keep_bias else none
        return LinearLayer(tau_normalize(weight, layer.tau), bias), none
    if isinstance(layer, NearestClassMeanLinear):
        return _nearest_mean(layer, none)
    raise ValueError(
        f'the classifier is a {type(layer).__name__}, which no layer of torch replaces; only '
        'linear, cosine and tau-normalised ones, and class means, can be exported.'
    )


def _nearest_mean(layer: NearestClassMeanLinear, none: Tensor) -> tuple[LinearLayer, Tensor]:
    if not layer.counts.any():
        raise ValueError(
            'the checkpoint has no class means of its weights; give one that a training with '
            "dict(type='lt_mm.ClassMeansHook') in custom_hooks saved by its CheckpointHook, or "
            'save runner.model.state_dict() after a runner.test() with that hook.'
        )
    means = layer.means.double()
    if layer.metric == 'dot':
        weight, bias, squares = means / means.shape[1], none, none
    else:
        # -|f - m|^2 = 2 f m - |m|^2 - |f|^2
        weight, bias, squares = 2 * means, -means.square().sum(1), none - 1
    empty = layer.counts == 0
    weight = weight.masked_fill(empty[:, None], 0)
    bias = bias.masked_fill(empty, -torch.inf)
    centre = layer.centre.detach() if layer.features == 'cl2n' else None
    return LinearLayer(weight, bias, layer.features != 'un', centre), squares


def _affine(alignment: nn.Module) -> tuple[Tensor, Tensor]:
    """(C,) factors and (C,) summands of the logits."""
    if isinstance(alignment, LearnableWeightScaling):
        gain = alignment.scale.detach().double()
        return gain, torch.zeros_like(gain)
    if isinstance(alignment, DisAlign):
        scale, shift = alignment.scale.detach().double(), alignment.shift.detach().double()
        # 'code' is 'paper' with a scale greater by 1.
        extra = scale - 1 if alignment.form == 'paper' else scale
        untrained = not extra.any() and not shift.any()
        if untrained or not alignment.confidence.weight.any():
            confidence = alignment.confidence.bias.detach().double().sigmoid()
            return 1 + confidence * extra, confidence * shift
        raise ValueError(
            'the confidence of DisAlign differs from one feature to the next, which no single '
            'layer does; predict with lt_mm, or align by lt_mm.LearnableWeightScaling.'
        )
    raise ValueError(
        f'the alignment is a {type(alignment).__name__}, which no layer of torch replaces; only '
        'LearnableWeightScaling can be exported.'
    )
