"""Weights of convolutions in the memory format that CPUs and tensor cores like."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lt_mm.engine.distributed import unwrapped
from lt_mm.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Lay out a convolutional network with the channels innermost; results differ by rounding.

    Outputs of a convolution follow its weights, so that inputs need not be touched. It pays most
    for depthwise convolutions on a CPU, and on GPUs with automatic mixed precision. A checkpoint
    holds the same numbers as without, and a network that is not convolutional is left as it is.
    """

    # Before EMAHook copies the model.
    priority = 'HIGH'

    def before_run(self, runner: Runner) -> None:
        """Lay out the weights.

        Args:
            runner: of the process.
        """
        unwrapped(runner.model).to(memory_format=torch.channels_last)
