"""Losses of single samples of a model, for other parameters than its own, and weights on them."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lt_mm.models.losses.class_weights import weighs_classes

_NAMES = ('loss_module', 'loss_decode')


class Measured(NamedTuple):
    """What the classification losses of a model were given and gave, once or several times."""

    logits: list[Tensor]
    """(N, C, ...) of each call."""
    target: Tensor
    """(N, ...) labels, the same in all calls."""
    valid: Tensor
    """(N, ...), False where a label is to be ignored."""
    losses: Tensor
    """(N, ...), summed over calls; 0 where a label is ignored."""


class Call(NamedTuple):
    """A call of a classification loss in a step."""

    logits: Tensor
    """(N, C, ...), with their graph."""
    target: Tensor
    """(N, ...) labels."""
    valid: Tensor
    """(N, ...), False where a label is to be ignored."""
    losses: Callable[[Tensor], Tensor]
    """The (N, ...) losses of other logits in place of these."""


class SampleLosses:
    """Hooks on the classification losses of a model: ``loss_module`` and ``loss_decode`` of heads.

    Auxiliary heads are left alone. What is measured leaves no trace: buffers are cloned, so that
    running statistics and queues are as they were, and random numbers are for the caller to keep.
    A loss that is called while :attr:`weigh` is set is weighed by what that returns for the call.

    Args:
        model: of mmpretrain's or mmseg's kind, not wrapped for several processes.
        owner: what error messages call who asks.

    Raises:
        TypeError: if it has no such loss, or one that takes no weights or gives no single values.
        ValueError: if such a loss has weights of classes already.
    """

    def __init__(self, model: nn.Module, owner: str) -> None:
        self.model = model
        self.owner = owner
        self.weigh: Callable[[Call], Tensor] | None = None
        self._seen: list[tuple[Tensor, Tensor, int | None, Any]] | None = None
        self._losses = dict(_losses_of(model))
        if not self._losses:
            raise TypeError(
                f'{owner} finds no classification loss in {type(model).__name__}, neither a '
                'loss_module nor a loss_decode of a head; use a model of mmpretrain or mmseg whose '
                'head classifies by one.'
            )
        for path, loss in self._losses.items():
            taken = inspect.signature(loss.forward).parameters
            if not {'weight', 'reduction_override'} <= taken.keys():
                raise TypeError(
                    f"'{path}' ({type(loss).__name__}) gives no values of single samples and takes "
                    f'no weights of them, which {owner} needs; use a loss of lt_mm, such as '
                    "dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)."
                )
            if weighs_classes(loss):
                raise ValueError(
                    f"'{path}' ({type(loss).__name__}) has class weights, and {owner} would weigh "
                    f'the classes again; take class_weight out of the loss and give it to {owner}.'
                )
        self._handles: list = []

    @property
    def number(self) -> int:
        """Of the losses."""
        return len(self._losses)

    def attach(self) -> None:
        """Begin to see the calls of the losses."""
        for loss in self._losses.values():
            self._handles += [
                loss.register_forward_pre_hook(self._before, with_kwargs=True),
                loss.register_forward_hook(self._after),
            ]

    def detach(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def measure(
        self, parameters: Mapping[str, Tensor], args: tuple, kwargs: Mapping[str, Any]
    ) -> Measured:
        """Losses of a batch, for some parameters in place of the model's.

        Args:
            parameters: by name; the others are those of the model, without gradient.
            args: positional arguments of the model's forward.
            kwargs: named ones, preprocessed.

        Raises:
            TypeError: if labels are soft, or a loss gives no value of each sample.
        """
        self._seen = []
        # Auxiliary heads would only take time.
        auxiliary = self.model._modules.get('auxiliary_head')
        if auxiliary is not None:
            self.model._modules['auxiliary_head'] = None
        fixed = {name: value.detach() for name, value in self.model.named_parameters()}
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        try:
            functional_call(
                self.model, {**fixed, **buffers, **parameters}, args, {**kwargs, 'mode': 'loss'}
            )
            seen = self._seen
        finally:
            self._seen = None
            if auxiliary is not None:
                self.model._modules['auxiliary_head'] = auxiliary
        return self._combined(seen, len(kwargs.get('data_samples') or ()))

    def _combined(self, seen: list, samples: int) -> Measured:
        paths = ' and '.join(map(repr, self._losses))
        if not seen:
            raise TypeError(
                f'{self.owner} saw no call of {paths} in a step of {type(self.model).__name__}, so '
                'there is no loss to weigh; use a head that calls its loss itself.'
            )
        _, target, ignore_index, _ = seen[0]
        if target.is_floating_point():
            raise TypeError(
                f'soft labels reached {paths}, but {self.owner} needs the class of each sample; '
                'take Mixup, CutMix and the like out of train_cfg, and to_onehot out of the '
                'data_preprocessor.'
            )
        for _, other, _, loss in seen:
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            if shape != tuple(target.shape) or other.shape != target.shape:
                raise TypeError(
                    f'{paths} gave {shape} for labels of {tuple(other.shape)}, but {self.owner} '
                    'needs one value for each label, the same labels in all calls; use one loss of '
                    "lt_mm, such as dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)."
                )
        if samples and len(target) != samples:
            raise TypeError(
                f'{paths} had labels of {len(target)} samples in a batch of {samples}, so it is '
                f'unknown which {self.owner} weighs; use a head with one label a sample.'
            )
        losses = torch.stack([loss for *_, loss in seen]).sum(0)
        valid = _valid(target, ignore_index)
        return Measured([call[0] for call in seen], target, valid, losses * valid)

    @contextmanager
    def features_once(self, names: Iterable[str]) -> Iterator[None]:
        """Extract features once inside, where none of these parameters changes them.

        Args:
            names: of the parameters that differ between measurements of the same batch.
        """
        extract = getattr(self.model, 'extract_feat', None)
        if extract is None or any(not _is_of_head(name) for name in names):
            yield
            return
        kept: list = []

        def once(*args: Any, **kwargs: Any) -> Any:
            if not kept:
                kept.append(extract(*args, **kwargs))
            return kept[0]

        self.model.extract_feat = once
        try:
            yield
        finally:
            del self.model.extract_feat

    def _before(self, loss: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Ask for single values while measuring; otherwise weigh them."""
        if self._seen is None and self.weigh is None:
            return None
        bound = inspect.signature(loss.forward).bind(*args, **kwargs)
        given = list(bound.arguments.values())
        logits, target = given[0], given[1]
        ignore_index = kwargs.get('ignore_index', getattr(loss, 'ignore_index', None))
        if self._seen is not None:
            self._seen.append((logits, target, ignore_index, None))
            kwargs = {**kwargs, 'reduction_override': 'none'}
            kwargs.pop('avg_factor', None)
            return args, kwargs
        weight = self.weigh(
            Call(logits, target, _valid(target, ignore_index), self._again(loss, target, kwargs))
        )
        if kwargs.get('weight') is not None:
            weight = weight * kwargs['weight']
        return args, {**kwargs, 'weight': weight}

    def _again(
        self, loss: nn.Module, target: Tensor, kwargs: Mapping[str, Any]
    ) -> Callable[[Tensor], Tensor]:
        """The losses of other logits; neither hooks nor account of labels that a loss keeps."""
        options = {key: kwargs[key] for key in kwargs if key not in ('weight', 'avg_factor')}
        options['reduction_override'] = 'none'

        def losses(logits: Tensor) -> Tensor:
            buffers = {name: value.clone() for name, value in loss.named_buffers()}
            weigh, self.weigh = self.weigh, None
            try:
                return functional_call(loss, buffers, (logits, target), options)
            finally:
                self.weigh = weigh

        return losses

    def _after(self, loss: nn.Module, args: tuple, output: Any) -> None:
        if self._seen:
            self._seen[-1] = (*self._seen[-1][:3], output)


def _valid(target: Tensor, ignore_index: int | None) -> Tensor:
    if ignore_index is None:
        return torch.ones_like(target, dtype=torch.bool)
    return target != ignore_index


def _is_of_head(name: str) -> bool:
    return name.split('.')[0] in ('head', 'decode_head')


def _losses_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in model.named_modules():
        parts = path.split('.')
        name = parts[-2] if parts[-1].isdigit() and len(parts) > 1 else parts[-1]
        own = not isinstance(module, nn.ModuleList) and parts[0] != 'auxiliary_head'
        if own and name in _NAMES:
            yield path, module
