"""Class counts as state of a module: handed to a model, kept in the checkpoint."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lt_mm.functional import log_prior
from lt_mm.models.alpha import hand_alpha, model_alpha
from lt_mm.structures import ClassCounts


class ClassCountsBuffer(nn.Module):
    """The counts a module was given and their log prior, in persistent buffers that start empty.

    ``counts`` are those of the data set; ``log_prior`` is that of what the sampler yields of it.

    Args:
        owner: what error messages call the module that needs the counts.
        num_classes: number of classes the owner has, when it knows; other counts are refused.
    """

    def __init__(self, owner: str, num_classes: int | None = None) -> None:
        super().__init__()
        self.owner = owner
        self.num_classes = num_classes
        self.register_buffer('counts', torch.zeros(0, dtype=torch.int64))
        self.register_buffer('log_prior', torch.zeros(0))
        self._derived: dict[Hashable, Tensor] = {}

    @property
    def is_set(self) -> bool:
        """Whether counts have been given."""
        return self.counts.numel() > 0

    def set(self, class_counts: ClassCounts) -> bool:
        """Take over the counts and their prior.

        Returns:
            Whether either differs from what was there.

        Raises:
            ValueError: if their number is not the owner's number of classes.
        """
        if self.num_classes is not None:
            class_counts.validate(self.num_classes, self.owner)
        counts = class_counts.counts.to(self.counts.device)
        prior = class_counts.log_prior().to(self.log_prior.device)
        changed = not (torch.equal(counts, self.counts) and torch.equal(prior, self.log_prior))
        if changed:
            self._store(counts, prior)
        return changed

    def require_log_prior(self) -> Tensor:
        """The (C,) float32 log prior.

        Raises:
            RuntimeError: if no counts have been given.
        """
        if not self.is_set:
            raise RuntimeError(
                f'{self.owner} needs class counts and has none; add '
                "`custom_hooks = [dict(type='lt_mm.ClassCountsHook')]` to the config, or call "
                'set_class_counts.'
            )
        return self.log_prior

    def derived(self, function: Callable[..., Tensor], *args: Hashable) -> Tensor:
        """``function(counts, *args)``, computed once for the same counts.

        Functions of counts check them, for which the host waits for the device.

        Args:
            function: depends on nothing else; without a gradient.
            args: its further arguments.

        Raises:
            RuntimeError: if no counts have been given.
        """
        self.require_log_prior()
        key = (function, *args)
        if key not in self._derived:
            self._derived[key] = function(self.counts, *args)
        return self._derived[key]

    def _apply(self, *args: Any, **kwargs: Any) -> 'ClassCountsBuffer':
        # To another device, perhaps.
        self._derived.clear()
        return super()._apply(*args, **kwargs)

    def _store(self, counts: Tensor, prior: Tensor) -> None:
        self._derived.clear()
        if counts.shape != self.counts.shape:
            self.counts = torch.empty_like(counts)
            self.log_prior = torch.empty_like(prior)
        # In place: wrappers and averaged copies of a model hold on to its buffers.
        self.counts.copy_(counts)
        self.log_prior.copy_(prior)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self._derived.clear()
        loaded = state_dict.get(f'{prefix}counts')
        if loaded is not None:
            # Checkpoints of old hold the counts alone.
            of_counts = log_prior(loaded) if loaded.numel() > 0 else loaded.float()
            prior = state_dict.setdefault(f'{prefix}log_prior', of_counts)
            if prior.shape == loaded.shape:
                # They gave a class without a sample the prior of one.
                prior = prior.masked_fill(loaded == 0, -torch.inf)
                state_dict[f'{prefix}log_prior'] = prior
            # The buffers are empty until counts are known, so a plain load would report a size
            # mismatch and drop what the checkpoint holds.
            if loaded.numel() > 0 and loaded.shape != self.counts.shape:
                self._store(loaded.to(self.counts.device), prior.to(self.log_prior.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


def counts_of_training(
    meta: Mapping[str, Any], given: ClassCounts | None = None, sampler_prior: bool = True
) -> ClassCounts | None:
    """The class counts that a trained model is to be tested with, in its order of classes.

    Args:
        meta: information of its checkpoint, where ``lt_mm.ClassCountsHook`` writes them.
        given: in place of those of the checkpoint.
        sampler_prior: whether their prior is that of what the sampler of the training yielded.

    Returns:
        None if there are none.

    Raises:
        ValueError: if those given are of other classes.
    """
    classes = (meta.get('dataset_meta') or {}).get('classes')
    numbers = meta.get('class_counts')
    if given is None:
        if numbers is None:
            return None
        given = ClassCounts(numbers, classes if len(classes or ()) == len(numbers) else None)
    counts = given.in_order_of(classes, 'the training of the checkpoint')
    if sampler_prior and counts.counts.tolist() == numbers:
        counts = counts.with_prior(meta.get('class_prior'))
    return counts


def set_class_counts(model: nn.Module, class_counts: ClassCounts) -> list[str]:
    """Hand class counts to every module of a model that has ``set_class_counts``, once each.

    Before, the strength ``alpha`` that the head of the model was given reaches the logit-adjusted
    losses of the heads beside it, auxiliary ones and those before it in a cascade, that set none
    themselves; it never comes from those.

    Args:
        model: a network or a part of one, not wrapped for several processes.
        class_counts: of the training set.

    Returns:
        Paths of the modules that took them.

    Raises:
        ValueError: if a module refuses the counts; it is named.
    """
    hand_alpha(model, model_alpha(model))
    takers = [(path, m) for path, m in model.named_modules() if hasattr(m, 'set_class_counts')]
    for path, module in takers:
        try:
            module.set_class_counts(class_counts)
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"'{path or 'the model'}' ({type(module).__name__}) does not accept the class "
                f'counts: {error}'
            ) from error
    return [path for path, _ in takers]
