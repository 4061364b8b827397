"""What a model needs to train its classifier alone."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from torch import nn

from lt_mm.compat import is_batch_norm

_POLICIES = ('eval', 'statistics')
RANDOM_ENCODER = (
    'The encoder of {} is frozen, and nothing was loaded into its backbone, so it stays random; '
    'set load_from to a checkpoint, or init_cfg of the backbone, or, where the config has '
    'earlier_stages, train with `python tools/train.py` of lt_mm.'
)


class FrozenParts:
    """Keep parts of a model as they are, in ``class MyModel(FrozenParts, Base)``.

    Frozen parts have no gradients, which is settled before a Runner wraps the model for several
    processes, and are in eval mode: no dropout, no drop path. What their batch normalisation does
    is said by ``frozen_batch_norm``. Their weights are to come from a checkpoint: ``load_from``, an
    earlier stage, or ``init_cfg`` of the backbone. Where nothing was loaded into the backbone,
    training warns, and :class:`~lt_mm.engine.hooks.TrainingGuardHook` does not let it start.

    With 'statistics', each process has running statistics of its own share of the batches, as in
    all training with batch normalisation; ``SyncBN`` makes them the same.

    Args:
        args: those of the base class.
        freeze_encoder: whether :meth:`frozen_parts` are frozen.
        frozen_batch_norm: 'eval' normalises by the running statistics and leaves them as they are.
            'statistics' normalises by those of the batch and lets the running ones follow, as
            MiSLAS does (shifted BN), and the public code of cRT and LWS; weight and bias stay.
            Layers that the backbone keeps in eval mode itself, by ``frozen_stages``, stay there.
        kwargs: those of the base class.

    Raises:
        ValueError: for another policy, or 'statistics' where nothing frozen has any that move.

    Source: Zhong et al., Improving Calibration for Long-Tailed Recognition (MiSLAS), CVPR 2021,
    section 3.3.
    """

    def __init__(
        self,
        *args: Any,
        freeze_encoder: bool = False,
        frozen_batch_norm: str = 'eval',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        name = type(self).__name__
        if not isinstance(freeze_encoder, bool):
            raise ValueError(f'freeze_encoder of {name} is {freeze_encoder!r}; use True or False.')
        if frozen_batch_norm not in _POLICIES:
            raise ValueError(
                f"frozen_batch_norm of {name} is {frozen_batch_norm!r}; use 'eval' or 'statistics'."
            )
        if frozen_batch_norm != 'eval' and not freeze_encoder:
            raise ValueError(
                f'frozen_batch_norm of {name} is {frozen_batch_norm!r}, but nothing is frozen; '
                'set freeze_encoder=True, or leave it out.'
            )
        self.freeze_encoder = freeze_encoder
        self.frozen_batch_norm = frozen_batch_norm
        # timm's backbones are as they were trained when they are built.
        self._has_warned = False
        self._encoder_was_loaded = getattr(self.backbone, 'is_init', False)
        if freeze_encoder:
            for part in self.frozen_parts():
                part.requires_grad_(False)
            self.train(self.training)
            # Public from torch 2.5 on.
            self.backbone._register_load_state_dict_pre_hook(self._note_load)
        if frozen_batch_norm == 'statistics' and not any(map(_moves, self._frozen_modules())):
            raise ValueError(
                f"frozen_batch_norm of {name} is 'statistics', but no frozen layer has statistics "
                "that move; take norm_eval and frozen_stages out of the backbone, or use 'eval'."
            )

    @property
    def is_frozen_at_random(self) -> bool:
        """Whether the encoder is frozen, and nothing was loaded into its backbone."""
        return self.freeze_encoder and not self._encoder_was_loaded

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """As in the base class; a loss upon a random encoder is warned of, once.

        Args:
            inputs: those of the base class.
            data_samples: those of the base class.
            mode: 'tensor', 'predict' or 'loss'.
        """
        if mode == 'loss' and self.is_frozen_at_random and not self._has_warned:
            self._has_warned = True
            print_log(RANDOM_ENCODER.format(type(self).__name__), 'current', logging.WARNING)
        return super().forward(inputs, data_samples, mode=mode)

    def frozen_parts(self) -> Iterator[nn.Module]:
        """What ``freeze_encoder`` freezes: backbone and neck, unless a subclass says otherwise."""
        for part in (self.backbone, getattr(self, 'neck', None)):
            if part is not None:
                yield part

    def train(self, mode: bool = True) -> 'FrozenParts':
        """Set the mode of everything but the frozen parts, which keep to their policy."""
        super().train(mode)
        if self.freeze_encoder:
            # As the parts' own train() left them.
            moving = [layer for layer in self._frozen_modules() if _moves(layer)]
            for part in self.frozen_parts():
                part.eval()
            if self.frozen_batch_norm == 'statistics':
                for layer in moving:
                    layer.train()
        return self

    def _note_load(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self._encoder_was_loaded |= any(key.startswith(prefix) for key in state_dict)

    def _frozen_modules(self) -> Iterator[nn.Module]:
        for part in self.frozen_parts():
            yield from part.modules()


def _moves(layer: nn.Module) -> bool:
    return is_batch_norm(layer) and layer.training
