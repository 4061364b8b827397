"""What heads of several experts have in common, for both tasks."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any


def expert_configs(
    experts: Sequence[Mapping],
    common: Mapping[str, Any],
    interplay: Mapping | None,
    compensated: bool,
    owner: str,
) -> list[dict]:
    """Configs of the experts with the arguments that they have in common.

    Args:
        experts: their own arguments, which come first.
        common: of all.
        interplay: config of a loss between experts.
        compensated: whether the owner compensates the logits of all.
        owner: what errors call the head.

    Raises:
        ValueError: if they are no list of configs, there is none, there is an interplay of one, or
            predictions would be compensated twice.
    """
    is_list = isinstance(experts, Sequence) and not isinstance(experts, str)
    if not is_list or not all(isinstance(expert, Mapping) for expert in experts):
        raise ValueError(
            f'experts of {owner} is {experts!r:.80}, but it must be a list with a config for each '
            'expert, such as [dict()] * 3.'
        )
    if not experts:
        raise ValueError(
            f'{owner} has no experts; give a list with the configs of two heads or more.'
        )
    if interplay is not None and len(experts) == 1:
        raise ValueError(
            f'interplay of {owner} is {interplay["type"]!r}, but there is one expert; give another '
            'one, or leave interplay out.'
        )
    configs = [deepcopy({**common, **expert}) for expert in experts]
    for index, config in enumerate(configs):
        if compensated and config.get('post_compensation') is not None:
            raise ValueError(
                f'expert{index} and {owner} both have a post_compensation, which would correct '
                'twice; leave one of them out.'
            )
    return configs
