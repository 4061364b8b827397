"""What exports of both tasks share: a model of an mm package alone, with its weights."""

import inspect
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from mmengine.registry import Registry
from torch import Tensor, nn

from lt_mm.checkpoints import TRAINING_ONLY
from lt_mm.export.folding import fold, total_shift
from lt_mm.models.heads import LongTailOptions

# What lt_mm ships: the package that it registers with, and its file in models/shipped.
SHIPPED = {
    'NormalizedDecodeHead': ('mmseg', 'normalized_decode_head'),
    'MeanOfHeads': ('mmseg', 'mean_of_heads'),
    'NormalizedClsHead': ('mmpretrain', 'normalized_cls_head'),
    'ResNetCifar6n2': ('mmpretrain', 'resnet_cifar_6n2'),
    'ScaledResNet': ('mmpretrain', 'scaled_resnets'),
    'ScaledResNetCIFAR': ('mmpretrain', 'scaled_resnets'),
    'ScaledResNetV1c': ('mmpretrain', 'scaled_resnets'),
    'ScaledResNetV1d': ('mmpretrain', 'scaled_resnets'),
    'ScaledResNeXt': ('mmpretrain', 'scaled_resnets'),
}
# In the name of buffers of post-compensation.
COUNTS = '.post_compensation.class_counts.'
_OF_TRAINING = (
    *('teacher', 'key_momentum', 'freeze_encoder', 'freeze_decode_head', 'frozen_batch_norm'),
    *('auxiliary_head', 'train_cfg'),
)


class Task(NamedTuple):
    """How one of the mm packages names things."""

    registry: Registry
    head: str
    """Key of the head in a model, and prefix of its weights."""
    loss: str
    """Key of the loss in a head."""
    wrapper: str
    """What puts options on a head."""


class PlainModel(NamedTuple):
    """A model that needs no lt_mm."""

    config: dict
    """``model`` of a config."""
    weights: dict[str, Tensor]
    modules: list[str]
    """Names of the files in ``shipped`` that it needs."""


class PlainHead(NamedTuple):
    """A head that needs no lt_mm."""

    config: dict
    weights: dict[str, Tensor]
    """By their names in the head."""


def names_lt_mm(settings: object) -> bool:
    """Whether something of lt_mm is named, as 'lt_mm.X', in a nest of dicts and lists."""
    if isinstance(settings, Mapping):
        return any(map(names_lt_mm, settings.values()))
    if isinstance(settings, list | tuple):
        return any(map(names_lt_mm, settings))
    return isinstance(settings, str) and settings.startswith('lt_mm.')


def below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one module, by the names they have in it.

    Args:
        weights: of the whole model.
        prefix: of the module, with a dot at its end.
    """
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def above(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one module, by the names they have in the whole model."""
    return {f'{prefix}{name}': value for name, value in weights.items()}


def kind_of(registry: Registry, config: Mapping) -> Any:
    """The class or function that a config names; None if there is none of the name."""
    kind = config.get('type')
    return registry.get(kind) if isinstance(kind, str) else kind


def is_a(registry: Registry, config: object, kind: type) -> bool:
    """Whether a config is that of a class or of a subclass of it."""
    found = kind_of(registry, config) if isinstance(config, Mapping) else None
    return isinstance(found, type) and issubclass(found, kind)


def refuse_plain(task: Task, model: Mapping) -> None:
    """Refuse a model that needs no export.

    Raises:
        ValueError: if nothing in it is of lt_mm.
    """
    heads = model[task.head]
    heads = [heads] if isinstance(heads, Mapping) else heads
    kinds = [kind_of(task.registry, head) for head in heads]
    # What a user derived from lt_mm, or a preset, need not have its name.
    plain = all(isinstance(kind, type) and not issubclass(kind, LongTailOptions) for kind in kinds)
    if plain and not names_lt_mm(model):
        raise ValueError(
            f'the model has nothing of lt_mm ({task.head}: {heads[-1]["type"]}); the package of '
            'the model loads its config and checkpoint as they are.'
        )


def plain_name(kind: type) -> str:
    """How a config of an mm package names a class; those of other packages have their module."""
    of_package = kind.__module__.startswith(('mmseg.', 'mmpretrain.', 'lt_mm.models.shipped.'))
    return kind.__name__ if of_package else f'{kind.__module__}.{kind.__name__}'


def trained(task: Task, config: Mapping, weights: Mapping[str, Tensor]) -> nn.Module:
    """A head as its training left it, in eval mode.

    Args:
        task: of the head.
        config: of the head.
        weights: by their names in it, without those that only training needs.

    Raises:
        ValueError: if the weights do not fit.
    """
    head = task.registry.build(deepcopy(dict(config)))
    try:
        missing, unexpected = head.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _misfit(str(error)) from error
    missing = [
        name
        for name in missing
        # Counts may be in the config; without any, post-compensation says so itself.
        if not TRAINING_ONLY.match(f'{task.head}.{name}') and COUNTS not in f'.{name}'
    ]
    if missing or unexpected:
        raise _misfit(f'{type(head).__name__}: {", ".join([*missing, *unexpected][:5])}')
    return head.eval()


def plain_head(
    task: Task, config: Mapping, weights: Mapping[str, Tensor], shift: Tensor | None = None
) -> PlainHead:
    """Replace a head with options of lt_mm by its base; predictions stay the same.

    Classifier, alignment and post-compensation become one layer, see
    :func:`~lt_mm.export.folding.fold`. If that sees normalised features, the base comes in a
    shipped wrapper that has such a layer.

    Args:
        task: of the head.
        config: of the head; left as it is, as are the weights.
        weights: by their names in it, without those that only training needs.
        shift: (C,), added to the logits besides.

    Raises:
        ValueError: if the weights do not fit, or no layer predicts the same.
    """
    head = trained(task, config, weights)
    plain = {**config, task.loss: dict(type='CrossEntropyLoss')}
    if isinstance(head, LongTailOptions):
        if not hasattr(head, 'base_class'):
            raise ValueError(
                f'the head is a {type(head).__name__}, for which there is no plain one; predict '
                'with lt_mm.'
            )
        options = {*inspect.signature(LongTailOptions.__init__).parameters, 'keys_per_class'}
        plain = {name: value for name, value in plain.items() if name not in options}
        plain = {**plain, **head.base_arguments(), 'type': plain_name(head.base_class)}
        path, alignment = head.classifier_path, head.alignment
        shift = total_shift(head, shift)
    elif shift is None:
        return PlainHead(plain, dict(weights))
    else:
        # It knows the classifier of any head, or says why there is none.
        wrapped = {**config, 'type': task.wrapper, 'base': config['type']}
        return plain_head(task, wrapped, weights, shift)
    layer = head.get_submodule(path)
    new = task.registry.build(deepcopy(plain)).get_submodule(path)
    if type(layer) is type(new) and alignment is None and shift is None:
        return PlainHead(plain, dict(weights))
    folded = fold(layer, alignment, shift)
    replaced = (f'{path}.', 'alignment.', 'post_compensation.')
    kept = {name: value for name, value in weights.items() if not name.startswith(replaced)}
    kept[f'{path}.weight'] = folded.weight.reshape(new.weight.shape)
    if new.bias is not None:
        kept[f'{path}.bias'] = folded.bias
    elif folded.bias.any():
        raise ValueError(
            f'{path} of {plain["type"]} has no bias, which would take up the shift of the logits; '
            'give the base one, or subtract the log prior yourself.'
        )
    if not folded.normalized:
        return PlainHead(plain, kept)
    if task.head == 'decode_head':
        return PlainHead({**plain, 'type': 'NormalizedDecodeHead', 'base': plain['type']}, kept)
    kept[f'{path}.centre'] = (
        folded.weight.new_zeros(folded.weight.shape[1]) if folded.centre is None else folded.centre
    )
    wrapper = dict(type='NormalizedClsHead', base=plain['type'], classifier=path)
    return PlainHead({**plain, **wrapper}, kept)


def plain_model(task: Task, model: Mapping, weights: Mapping[str, Tensor]) -> PlainModel:
    """Leave out of a model with a plain head what only training needs, and see if all is plain.

    Args:
        task: of the model.
        model: with a plain head; left as it is, as are the weights.
        weights: with those of the plain head.

    Raises:
        ValueError: if a part needs lt_mm, or the weights do not fit.
    """
    model = {name: deepcopy(part) for name, part in model.items() if name not in _OF_TRAINING}
    kind = kind_of(task.registry, model)
    if names_lt_mm(model['type']):
        bases = (base for base in kind.__mro__ if issubclass(base, nn.Module))
        model['type'] = plain_name(next(b for b in bases if not b.__module__.startswith('lt_mm.')))
    for part in (model, model.get('backbone') or {}):
        # Weights to start a training from, which a checkpoint makes needless to download.
        part.update({name: None for name in ('pretrained', 'init_cfg') if name in part})
    modules: dict[str, None] = {}
    _ship(model, task.registry.scope, modules)
    for name, part in model.items():
        if names_lt_mm(part):
            raise ValueError(
                f'model.{name} needs lt_mm at inference too; only heads with options of lt_mm, '
                'losses, teachers and what lt_mm ships with a model can be left out or replaced.'
            )
    plain = task.registry.build(deepcopy(model))
    try:
        plain.load_state_dict(weights)
    except RuntimeError as error:
        raise _misfit(str(error)) from error
    # With the versions of its layers.
    return PlainModel(model, plain.state_dict(), list(modules))


def _ship(settings: object, scope: str, modules: dict[str, None]) -> None:
    """Name what lt_mm ships as a config of the scope does, and gather the files."""
    if isinstance(settings, list | tuple):
        for value in settings:
            _ship(value, scope, modules)
    if not isinstance(settings, Mapping):
        return
    for value in settings.values():
        _ship(value, scope, modules)
    kind = settings.get('type')
    if isinstance(kind, str) and (kind in SHIPPED or names_lt_mm(kind)):
        name = kind.rpartition('.')[2]
        if name in SHIPPED:
            package, module = SHIPPED[name]
            settings['type'] = name if package == scope else f'{package}.{name}'
            modules[module] = None


def _misfit(fault: str) -> ValueError:
    return ValueError(
        'the checkpoint does not fit the config; give the config that it was trained with '
        f'({" ".join(fault.split()):.300})'
    )
