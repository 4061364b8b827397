"""Several decode heads that learn together, as what predicts alike without lt_mm."""

import inspect
import sys
from collections.abc import Mapping
from copy import deepcopy

from mmseg.registry import MODELS
from torch import Tensor, nn

from lt_mm.export.plain_parts import compensating_bias
from lt_mm.models.heads import MeanOfHeads, MultiExpertDecodeHead
from lt_mm.models.heads.multi_expert_decode_head import expert_configs

_OWN = {'type', *inspect.signature(MultiExpertDecodeHead.__init__).parameters} - {'common'}
_HEAD = 'decode_head.'


def plain_experts(
    model: dict, state_dict: Mapping[str, Tensor]
) -> tuple[dict, dict[str, Tensor], dict[str, str]]:
    """Replace a MultiExpertDecodeHead by a head of the mean, or by the expert that predicts alone.

    The interplay is left out. A post-compensation becomes part of the biases of the classifiers.
    The experts themselves stay what they are.

    Args:
        model: ``model`` of a config; left as it is, as is one with another decode head.
        state_dict: its weights; left as they are.

    Returns:
        The model, its weights, and name to text of the Python module with the head of the mean, if
        it has one.

    Raises:
        ValueError: if a compensated expert has no ``conv_seg``, or there are no class counts.
    """
    head = model['decode_head']
    state = dict(state_dict)
    if not isinstance(head, Mapping) or not _is_multi_expert(head):
        return model, state, {}
    common = {name: value for name, value in head.items() if name not in _OWN}
    experts = expert_configs(head['experts'], common)
    trained = MODELS.build(deepcopy(dict(head)))
    if trained.post_compensation is not None:
        _add_to_biases(state, trained)
    left_out = tuple(f'{_HEAD}{part}.' for part in ('interplay', 'post_compensation'))
    state = {name: value for name, value in state.items() if not name.startswith(left_out)}
    if trained.predict_with is None:
        plain = dict(type=MeanOfHeads.__name__, experts=experts)
        text = inspect.getsource(sys.modules[MeanOfHeads.__module__])
        return {**model, 'decode_head': plain}, state, {'mean_of_heads': text}
    chosen = f'{_HEAD}experts.{trained.predict_with}.'
    state = {
        name.replace(chosen, _HEAD, 1): value
        for name, value in state.items()
        if name.startswith(chosen) or not name.startswith(_HEAD)
    }
    return {**model, 'decode_head': experts[trained.predict_with]}, state, {}


def _is_multi_expert(head: Mapping) -> bool:
    kind = MODELS.get(head['type']) if isinstance(head['type'], str) else head['type']
    return kind is not None and issubclass(kind, MultiExpertDecodeHead)


def _add_to_biases(state: dict[str, Tensor], trained: MultiExpertDecodeHead) -> None:
    """Compensate the logits of all experts where they arise; a bias passes through upsampling."""
    prefix = f'{_HEAD}post_compensation.'
    try:
        shift = compensating_bias(trained.post_compensation, state, prefix, trained.num_classes)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    for index, expert in enumerate(trained.experts):
        if not isinstance(getattr(expert, 'conv_seg', None), nn.Module):
            raise ValueError(
                f'expert{index} ({type(expert).__name__}) has no conv_seg, whose bias would take '
                'up the post_compensation; set it to None, and subtract the log prior yourself.'
            )
        name = f'{_HEAD}experts.{index}.conv_seg.bias'
        state[name] = state[name] + shift if name in state else shift.clone()
