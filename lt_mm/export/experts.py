"""Several experts as what predicts alike without lt_mm: the mean of plain heads, or one of them."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lt_mm.export.folding import total_shift
from lt_mm.export.plain_model import PlainHead, Task, above, below, plain_head, trained
from lt_mm.models.heads.experts import expert_configs


def plain_experts(
    task: Task,
    config: Mapping,
    weights: Mapping[str, Tensor],
    expert: int | None = None,
    shift: Tensor | None = None,
) -> PlainHead:
    """Replace a MultiExpertDecodeHead by a head of the mean, or by the expert that predicts alone.

    The interplay is left out. A post-compensation becomes part of the biases of the classifiers.

    Args:
        task: that of segmentation.
        config: of the head; left as it is, as are the weights.
        weights: by their names in it, without those that only training needs.
        expert: which predicts alone, from 0; None for what the config says.
        shift: (C,), added to the logits besides.

    Raises:
        ValueError: if there is no such expert, or an expert cannot be replaced.
    """
    if expert is not None:
        config = {**config, 'predict_with': expert}
    head = trained(task, config, weights)
    shift = total_shift(head, shift)
    found = [
        plain_head(task, one, below(weights, f'experts.{index}.'), shift)
        for index, one in enumerate(configs_of_experts(type(head), config))
    ]
    if head.predict_with is not None:
        return found[head.predict_with]
    merged = dict(expert_weights=weights['expert_weights'])
    for index, one in enumerate(found):
        merged |= above(one.weights, f'experts.{index}.')
    return PlainHead(dict(type='MeanOfHeads', experts=[one.config for one in found]), merged)


def configs_of_experts(kind: type, config: Mapping, **defaults: Any) -> list[dict]:
    """The configs of the heads that a head of several experts has.

    Args:
        kind: its class.
        config: its arguments.
        defaults: what experts have unless they, or the common arguments, say otherwise.
    """
    # A subclass has further arguments of its own beside those of all.
    own = {'type'}
    for base in kind.__mro__:
        if base.__module__.startswith('lt_mm.'):
            own |= {*inspect.signature(base.__init__).parameters}
    common = {name: value for name, value in config.items() if name not in own}
    return expert_configs(config['experts'], {**defaults, **common}, None, False, kind.__name__)
