"""The model inside a distributed wrapper."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where the Runner has put a wrapper such as DDP around it.

    Args:
        model (nn.Module): ``runner.model``.
    """
    return model.module if is_model_wrapper(model) else model
