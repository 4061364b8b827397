"""Names of the weights of a MultiExpertResNet and of the plain network that it wraps."""

import re
from collections.abc import Mapping

from torch import Tensor

_STAGE = re.compile(r'layer(\d+)(\.|$)')
_EXPERT = re.compile(r'experts\.(\d+)\.')


def is_shared(name: str, shared_stages: int) -> bool:
    """Whether a module or weight of the plain network is common to the experts.

    Args:
        name: in the plain network: 'layer2.0.conv1.weight', or of the stem such as 'bn1'.
        shared_stages: see :class:`~lt_mm.models.backbones.MultiExpertResNet`.
    """
    stage = _STAGE.match(name)
    return (int(stage[1]) if stage else 0) <= shared_stages


def plain_weights(state_dict: Mapping[str, Tensor], expert: int) -> dict[str, Tensor]:
    """Weights of one expert, and of what it shares, as those of the plain network.

    Args:
        state_dict: of a MultiExpertResNet, without the prefix 'backbone.'.
        expert: which, from 0.

    Returns:
        The tensors themselves, by the names of the plain network.

    Raises:
        ValueError: if there is no such expert.
    """
    experts = sorted({int(match[1]) for name in state_dict if (match := _EXPERT.match(name))})
    if expert not in experts:
        raise ValueError(
            f'expert is {expert}, but the weights are those of the experts {experts}: choose one '
            'of them.'
        )
    parts = ('shared.', f'experts.{expert}.')
    return {
        name.removeprefix(part): value
        for part in parts
        for name, value in state_dict.items()
        if name.startswith(part)
    }


def multi_expert_weights(
    state_dict: Mapping[str, Tensor], num_experts: int, shared_stages: int
) -> dict[str, Tensor]:
    """Weights of a plain network as those of a MultiExpertResNet whose experts are all alike.

    Args:
        state_dict: of the plain network, of the experts' width.
        num_experts: E.
        shared_stages: see :class:`~lt_mm.models.backbones.MultiExpertResNet`.

    Returns:
        The tensors themselves; those of an expert's own part E times. ``load_state_dict`` copies.
    """
    weights = {}
    for name, value in state_dict.items():
        if is_shared(name, shared_stages):
            weights[f'shared.{name}'] = value
        else:
            weights |= {f'experts.{expert}.{name}': value for expert in range(num_experts)}
    return weights
