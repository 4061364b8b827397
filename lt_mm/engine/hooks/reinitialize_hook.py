"""Begin a stage of training with some parts of the model as they were initialised."""

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from lt_mm.engine.distributed import unwrapped
from lt_mm.registry import HOOKS


@HOOKS.register_module()
class ReinitializeHook(Hook):
    """Take everything but some parts from the checkpoint that a training loads.

    After ``load_from``, the parts have the weights and buffers again that the model was
    initialised with: those of its ``init_cfg`` and of the seed of the run, on all ranks the same.
    A resumed training is left alone. For cRT: ``parts=['head.fc']``, or 'decode_head.conv_seg'.

    Args:
        parts: paths of modules in the model.

    Raises:
        ValueError: if no part is named; before training, if the model has no such part.
    """

    # Before the hooks that set the state of modules, such as ClassCountsHook.
    priority = 'HIGHEST'

    def __init__(self, parts: Sequence[str]) -> None:
        if isinstance(parts, str) or not parts:
            raise ValueError(
                f'parts of ReinitializeHook is {parts!r}, but it must be a list of paths of '
                "modules, such as ['head.fc']."
            )
        self.parts = tuple(parts)
        self._initial: dict[str, dict[str, Tensor]] | None = None

    def before_run(self, runner: Runner) -> None:
        """Find out at once whether the model has the parts."""
        for path in self.parts:
            _part(runner.model, path)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the parts: the weights are initialised, and the checkpoint is yet to come."""
        self._initial = {
            path: {k: v.clone() for k, v in _part(runner.model, path).state_dict().items()}
            for path in self.parts
        }

    def before_train(self, runner: Runner) -> None:
        """Put them back, unless training was resumed."""
        initial, self._initial = self._initial, None
        if runner.iter > 0:
            return
        if initial is None:
            runner.logger.warning(
                f'ReinitializeHook has nothing to do for {", ".join(self.parts)}, because no '
                'checkpoint was loaded: give load_from, or name an earlier stage that gives weights'
            )
            return
        with torch.no_grad():
            for path, state in initial.items():
                _part(runner.model, path).load_state_dict(state)
        runner.logger.info(f'Begins as initialised: {", ".join(self.parts)}')


def _part(model: nn.Module, path: str) -> nn.Module:
    model = unwrapped(model)
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(
            f'ReinitializeHook finds no module {path!r} in {type(model).__name__}; name one of '
            'its modules, such as head.fc or decode_head.conv_seg.'
        ) from error
