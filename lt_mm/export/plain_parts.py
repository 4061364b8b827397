"""Pieces that exports of both tasks take out of a checkpoint."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lt_mm.models.layers import PostCompensation


def below(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one module, by the names they have in it.

    Args:
        state_dict: of the whole model.
        prefix: of the module, with a dot at its end.
    """
    return {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}


def compensating_bias(
    compensation: PostCompensation, state_dict: Mapping[str, Tensor], prefix: str, num_classes: int
) -> Tensor:
    """What a post-compensation adds to the logits, (C,).

    Args:
        compensation: as the config makes it; its buffers are filled from the checkpoint.
        state_dict: of the whole model.
        prefix: of the compensation in it.
        num_classes: C.

    Raises:
        RuntimeError: if the checkpoint does not fit.
        ValueError: if there are no class counts of the training.
    """
    compensation.load_state_dict(below(state_dict, prefix))
    try:
        return compensation.eval()(torch.zeros(1, num_classes))[0]
    except RuntimeError as error:
        raise ValueError(str(error)) from error
