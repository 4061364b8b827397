"""Methods for long tails as changes of a user's own config of mmsegmentation or mmpretrain."""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from lt_mm.analysis.budget import is_by_epoch, type_name, with_budget
from lt_mm.registry import MODELS

SEGMENTATION, CLASSIFICATION = 'segmentation', 'classification'
_HEADS = {SEGMENTATION: 'lt_mm.LongTailHead', CLASSIFICATION: 'lt_mm.LongTailClsHead'}
_LOSS = {SEGMENTATION: 'loss_decode', CLASSIFICATION: 'loss'}
_CROSS_ENTROPY = {
    # mmsegmentation's own does not know of ignored pixels unless it is told at each call.
    SEGMENTATION: dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    CLASSIFICATION: dict(type='CrossEntropyLoss'),
}
# Losses of one softmax over the classes, in whose place another one can stand.
_REPLACED = {
    'CrossEntropyLoss', 'OhemCrossEntropy', 'FocalLoss', 'LabelSmoothLoss', 'SeesawLoss',
    'LogitAdjustedLoss', 'WeightedCrossEntropyLoss', 'LDAMLoss', 'LabelAwareSmoothingLoss',
    'LADELoss', 'HardCategoryLoss',
}  # fmt: skip
# What LongTailHead takes beside the arguments of its base.
_OPTIONS = (
    'base classifier classifier_temperature alignment post_compensation freeze_classifier alpha '
    'contrast distillation keys_per_class'
).split()
# What with_budget changes beside the loop.
_SCHEDULE = ('param_scheduler', 'custom_hooks', 'default_hooks', 'log_processor')
# Of the strength of an adjustment: that of the GML paper for pixels, that of theory for images.
_ALPHA = {SEGMENTATION: 0.2, CLASSIFICATION: 1.0}
_TEMPERATURE = {SEGMENTATION: 0.05, CLASSIFICATION: 1 / 30}
_ALPHAS = {
    SEGMENTATION: (0.2, 0.5, 1.0, 0.1, 0.35, 0.75, 0.05, 1.5),
    CLASSIFICATION: (1.0, 0.5, 1.5, 0.75, 1.25, 0.25, 2.0, 0.1),
}


@dataclass(frozen=True)
class Context:
    """What a change of a config needs to know beside it.

    Args:
        class_counts: path of the JSON file of those of the training set.
        cache_dir: folder where samplers find the counts of the maps.
        epoch_length: iterations of an epoch.
    """

    class_counts: str
    cache_dir: str
    epoch_length: int


@dataclass(frozen=True)
class Variant:
    """A method.

    Args:
        label: name in tables.
        change: changes a config in place for a value of the hyper-parameter, None for its default.
        tuned: the hyper-parameter that trials are spent on.
        values: of it, for a task; the first is the default, and trials are spent in this order.
        evaluates: method whose checkpoint is evaluated, where there is nothing to train.
        note: what a reader should know.
    """

    label: str
    change: Callable[[Config, Any, Context], None]
    tuned: str
    values: Mapping[str, Sequence[float]]
    evaluates: str | None = None
    note: str = ''


def task_of(config: Mapping) -> str:
    """Whether a config is of segmentation or classification.

    Raises:
        ValueError: if its model has neither a decode_head nor a head.
    """
    model = config.get('model') or {}
    if model.get('decode_head'):
        return SEGMENTATION
    if model.get('head'):
        return CLASSIFICATION
    raise ValueError(
        f'the model of the config is a {type_name(model) or "model without type"} with neither '
        'decode_head nor head; give a config of mmsegmentation or mmpretrain that classifies '
        'pixels or images.'
    )


def derive(config: Config, name: str, context: Context, value: float | None = None) -> Config:
    """The config of a method.

    Args:
        config: left as it is.
        name: of the method, as :func:`method_name` gives it.
        context: of the data.
        value: of the hyper-parameter. Defaults to that of the method.

    Raises:
        ValueError: if the model cannot have the method, saying why.
    """
    config, method = deepcopy(config), VARIANTS[name]
    # The default of cross-entropy and of the config as it is, is what it has.
    default = method.values[task_of(config)][0]
    method.change(config, default if value is None else value, context)
    return config


def check_model(config: Config) -> None:
    """Build the model of a config, without reading weights.

    Raises:
        ValueError: if that fails, with the reason.
    """
    scope = config.get('default_scope') or 'mmengine'
    try:
        with DefaultScope.overwrite_default_scope(scope):
            MODELS.build(deepcopy(config.model))
    except Exception as error:
        # mmengine puts the class in front, each time that a part of a part is built.
        reason = re.sub(r'^(class `\w+` in \S+\.py: )+', '', str(error))
        raise ValueError(f'its model cannot be built: {reason}') from error


def method_name(name: str, task: str) -> str:
    """The method that a user names.

    Raises:
        ValueError: if there is none, with the nearest name.
    """
    name = _ALIASES.get(name, name)
    # Each task has its own sampler.
    if name in _SAMPLERS.values():
        return _SAMPLERS[task]
    if name not in VARIANTS:
        near = get_close_matches(name, [*VARIANTS, *_ALIASES], n=1)
        hint = f'perhaps {near[0]}' if near else f'choose from {", ".join(VARIANTS)}'
        raise ValueError(f'{name!r} is no method; {hint}.')
    return name


def config_diff(old: Any, new: Any, key: str = '') -> list[str]:
    """What one config has otherwise than another, a line a setting.

    Args:
        old: dict, list or value.
        new: likewise.
        key: dotted path of both.

    Returns:
        Lines ``- key = value`` and ``+ key = value``.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for name in dict.fromkeys((*old, *new)):
            path = f'{key}.{name}'.lstrip('.')
            if name not in new:
                lines.append(f'- {path} = {_text(old[name])}')
            elif name not in old:
                lines.append(f'+ {path} = {_text(new[name])}')
            else:
                lines += config_diff(old[name], new[name], path)
        return lines
    are_lists = all(isinstance(value, list | tuple) for value in (old, new))
    if are_lists and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, pair in pairs for line in config_diff(*pair, f'{key}.{i}')]
    return [] if old == new else [f'- {key} = {_text(old)}', f'+ {key} = {_text(new)}']


def _text(value: Any) -> str:
    plain = Config(dict(value=value)).to_dict()['value']
    return repr(plain)


# What the methods do to a config.


def _as_it_is(config: Config, factor: float, context: Context) -> None:
    if factor != 1:
        optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
        if not isinstance(optimizer.get('lr'), int | float):
            raise ValueError(
                'optim_wrapper.optimizer.lr of the config is no number, so there is no learning '
                'rate to try; leave --tune out.'
            )
        optimizer.lr = optimizer.lr * factor


def _cross_entropy(config: Config, factor: float, context: Context) -> None:
    _put_cross_entropy(config)
    _as_it_is(config, factor, context)


def _put_cross_entropy(config: Config) -> None:
    _make_plain(config)
    before = deepcopy(config.model)
    _put_losses(config, None)
    if task_of(config) == SEGMENTATION and config.model != before:
        # Some heads with a loss of their own do not say what is to be ignored.
        _wrap(config)


def _loss(make: Callable[[str, float], Mapping]) -> Callable[[Config, Any, Context], None]:
    """A change that puts a loss, which is made for the task and the hyper-parameter."""

    def change(config: Config, value: float, context: Context) -> None:
        _make_plain(config)
        _put_losses(config, dict(make(task_of(config), value)))
        _wrap(config)

    return change


def _las(task: str, smoothing: float) -> Mapping:
    return dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=smoothing, tail_smoothing=0.0)


def _weights(task: str, power: float) -> Mapping:
    weights = dict(type='inverse', power=power)
    return dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=weights)


def _post_hoc(config: Config, alpha: float, context: Context) -> None:
    _make_plain(config)
    _put_losses(config, None)
    _wrap(config, post_compensation=dict(alpha=alpha, class_counts=context.class_counts))


def _ldam_drw(config: Config, margin: float, context: Context) -> None:
    task = task_of(config)
    temperature = _TEMPERATURE[task]
    # Of effective numbers of pixels, all are alike.
    weights = dict(type='inverse', power=0.5)
    if task == CLASSIFICATION:
        weights = dict(type='effective_number', beta=0.9999)
    loss = dict(
        type='lt_mm.LDAMLoss', max_margin=margin, scale=round(1 / temperature), class_weight=weights
    )
    _make_plain(config)
    _put_losses(config, loss, auxiliary=False)
    _wrap(config, classifier='cosine', classifier_temperature=temperature)
    by_epoch = is_by_epoch(config)
    length = config.train_cfg.max_epochs if by_epoch else config.train_cfg.max_iters
    hook = dict(type='lt_mm.DeferredHook', begin=int(0.8 * length), by_epoch=by_epoch)
    config.custom_hooks = [*(config.get('custom_hooks') or ()), ConfigDict(hook)]


def _cosine(config: Config, temperature: float, context: Context) -> None:
    task = task_of(config)
    _make_plain(config)
    _put_losses(config, dict(type='lt_mm.LogitAdjustedLoss', alpha=_ALPHA[task]))
    _wrap(config, classifier='cosine', classifier_temperature=temperature)


def _gml(config: Config, alpha: float, context: Context) -> None:
    teacher, distilled = config.model.get('teacher'), config.get('earlier_stages')
    task = task_of(config)
    heads = config.model['decode_head' if task == SEGMENTATION else 'head']
    own = (heads[-1] if isinstance(heads, Sequence) else heads).get('contrast') or {}
    _make_plain(config)
    _put_losses(config, dict(type='lt_mm.LogitAdjustedLoss', alpha=alpha))
    contrast = dict(type='lt_mm.GMLLoss')
    if task == CLASSIFICATION:
        # Mixed images have no class to be contrasted by.
        (config.model.get('train_cfg') or {}).pop('augments', None)
        contrast.update(size=16384, min_size=2)
    if type_name({**contrast, **own}) == 'GMLLoss':
        contrast.update(own)
    contrast.update(alpha=alpha)
    _wrap(config, contrast=contrast)
    if teacher is not None:
        network = 'Classifier' if task == CLASSIFICATION else 'EncoderDecoder'
        config.model.update(type=f'lt_mm.LongTail{network}', teacher=teacher)
        if distilled:
            config.earlier_stages = distilled


def _sampler(type: str, argument: str) -> Callable[[Config, Any, Context], None]:
    def change(config: Config, value: float, context: Context) -> None:
        _put_cross_entropy(config)
        if is_by_epoch(config) and task_of(config) == SEGMENTATION:
            # Repeated images make its epochs longer, and budgets are to be equal.
            iterations = config.train_cfg.max_epochs * context.epoch_length
            shorter = with_budget(config, iterations, context.epoch_length)
            for key in ('train_cfg', *_SCHEDULE):
                if shorter.get(key) is not None:
                    config[key] = shorter[key]
        loader = config.train_dataloader
        loader.sampler = ConfigDict(
            {'type': type, argument: value, 'infinite': not is_by_epoch(config)},
            cache_dir=context.cache_dir,
        )

    return change


def _make_plain(config: Config) -> None:
    """Take off what a config of lt_mm has put on heads and network, down to the plain ones."""
    model, task = config.model, task_of(config)
    if task == SEGMENTATION:
        for key in ('decode_head', 'auxiliary_head'):
            heads = model.get(key)
            if isinstance(heads, Sequence):
                model[key] = [_plain_head(head, task) for head in heads]
            elif heads:
                model[key] = _plain_head(heads, task)
    else:
        model.head = _plain_head(model.head, task)
    if type_name(model) in ('LongTailEncoderDecoder', 'LongTailClassifier'):
        for key in ('teacher', 'key_momentum'):
            model.pop(key, None)
        config.pop('earlier_stages', None)


def _plain_head(head: Mapping, task: str) -> ConfigDict:
    head = ConfigDict(head)
    name = f'lt_mm.{type_name(head)}'
    defaults = getattr(MODELS.get(name), 'defaults', None) if name in MODELS else None
    is_ours = type_name(head) == type_name(dict(type=_HEADS[task]))
    if not is_ours and (defaults is None or not str(head.type).startswith('lt_mm.')):
        return head
    plain = None if task == SEGMENTATION else 'LinearClsHead'
    base = head.get('base') or (defaults or {}).get('base') or plain
    return ConfigDict({**{k: v for k, v in head.items() if k not in _OPTIONS}, 'type': base})


def _wrap(config: Config, **options: Any) -> None:
    """Put LongTailHead around the head that predicts.

    Raises:
        ValueError: if it cannot be, with the reason.
    """
    model, task = config.model, task_of(config)
    key = 'decode_head' if task == SEGMENTATION else 'head'
    heads = model[key]
    is_cascade = isinstance(heads, Sequence)
    head = heads[-1] if is_cascade else heads
    kind = MODELS.get(_HEADS[task])
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        kind.on(head.get('type'))
    arguments = {k: v for k, v in head.items() if k != 'type'}
    wrapped = ConfigDict(dict(type=_HEADS[task], base=head.type, **options, **arguments))
    model[key] = [*heads[:-1], wrapped] if is_cascade else wrapped


def _put_losses(config: Config, loss: Mapping | None, auxiliary: bool = True) -> None:
    """Put a loss in the place of the cross-entropy of the heads; None is plain cross-entropy.

    Raises:
        ValueError: if the head that predicts has none to replace.
    """
    model, task = config.model, task_of(config)
    if task == CLASSIFICATION:
        mixes = bool((model.get('train_cfg') or {}).get('augments'))
        _put_loss(model.head, task, loss, mixes)
        return
    heads = model.decode_head
    _put_loss(heads[-1] if isinstance(heads, Sequence) else heads, task, loss)
    others = model.get('auxiliary_head') or []
    for head in others if isinstance(others, Sequence) else [others]:
        # Some learn boundaries.
        if type_name(head) != 'STDCHead' and auxiliary:
            _put_loss(head, task, loss, must=False)


def _put_loss(
    head: ConfigDict, task: str, loss: Mapping | None, mixes: bool = False, must: bool = True
) -> None:
    key = _LOSS[task]
    # What the head has where it says nothing.
    losses = head.get(key) or dict(type='CrossEntropyLoss')
    several = isinstance(losses, Sequence)
    changed, found = [], False
    for one in losses if several else [losses]:
        replaced = type_name(one) in _REPLACED
        found |= replaced
        changed.append(_in_place(one, loss, task, mixes) if replaced else one)
    if not found and must:
        names = ', '.join(type_name(one) for one in (losses if several else [losses]))
        raise ValueError(
            f'the {key} of {type_name(head)} is {names}, which is no cross-entropy that another '
            'loss could replace.'
        )
    if head.get(key) is not None or loss is not None or mixes:
        head[key] = changed if several else changed[0]


def _in_place(old: Mapping, loss: Mapping | None, task: str, mixes: bool) -> ConfigDict:
    """The loss, by the weight and the name of the old one; the old one if it is that already."""
    special = ('class_weight', 'use_sigmoid', 'pos_weight')
    if loss is None:
        if type_name(old) == 'CrossEntropyLoss' and not any(old.get(key) for key in special):
            return ConfigDict(old)
        loss = dict(_CROSS_ENTROPY[task], **(dict(use_soft=True) if mixes else {}))
    kept = {key: old[key] for key in ('loss_weight', 'loss_name') if key in old}
    return ConfigDict({**loss, **kept})


_FACTORS = dict.fromkeys(_HEADS, (1.0, 0.5, 2.0, 0.2, 5.0, 0.1, 10.0, 0.75))


def _both(*values: float) -> dict[str, tuple[float, ...]]:
    return dict.fromkeys(_HEADS, values)


VARIANTS = {
    'own': Variant('the config as it is', _as_it_is, 'lr', _FACTORS),
    'ce': Variant('cross-entropy', _cross_entropy, 'lr', _FACTORS),
    'class-weight': Variant(
        'class-weighted cross-entropy', _loss(_weights), 'power',
        {SEGMENTATION: (0.5, 1.0, 0.25, 0.75, 0.1, 0.35, 0.6, 0.9),
         CLASSIFICATION: (1.0, 0.5, 0.75, 0.25, 0.1, 0.35, 0.6, 0.9)},
        note='weights are inverse counts to this power',
    ),
    'la-post-hoc': Variant(
        'post-hoc logit adjustment', _post_hoc, 'alpha', _ALPHAS, evaluates='ce',
        note='the runs of cross-entropy, evaluated anew; nothing is trained',
    ),
    'la': Variant(
        'logit-adjusted loss',
        _loss(lambda _, alpha: dict(type='lt_mm.LogitAdjustedLoss', alpha=alpha)),
        'alpha', _ALPHAS,
    ),
    'balanced-softmax': Variant(
        'balanced softmax',
        _loss(lambda _, tau: dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0, temperature=tau)),
        'temperature', _both(1.0, 2.0, 0.5, 1.5, 0.75, 4.0, 0.25, 1.25),
        note='the logit-adjusted loss at alpha = 1',
    ),
    'focal': Variant(
        'focal loss', _loss(lambda _, gamma: dict(type='lt_mm.FocalLoss', gamma=gamma)),
        'gamma', _both(2.0, 1.0, 0.5, 3.0, 0.2, 1.5, 5.0, 0.1),
    ),
    'rfs': Variant(
        'repeat-factor sampling', _sampler('lt_mm.RepeatFactorSampler', 'threshold'),
        'threshold', _both(0.1, 0.3, 0.03, 0.5, 0.01, 0.2, 0.05, 1.0),
    ),
    'class-balanced': Variant(
        'class-balanced sampling', _sampler('lt_mm.ClassBalancedSampler', 'q'),
        'q', _both(0.0, 0.5, 0.25, 0.75, 0.1, 0.35, 0.6, -0.25),
    ),
    'las': Variant(
        'label-aware smoothing', _loss(_las),
        'head_smoothing', _both(0.2, 0.3, 0.1, 0.4, 0.05, 0.15, 0.25, 0.5),
    ),
    'ldam-drw': Variant(
        'LDAM-DRW', _ldam_drw, 'max_margin', _both(0.5, 0.3, 0.2, 0.1, 0.7, 0.4, 0.6, 0.05),
        note='on a cosine classifier; class weights in the last fifth',
    ),
    'seesaw': Variant(
        'Seesaw', _loss(lambda _, p: dict(type='lt_mm.SeesawLoss', p=p)),
        'p', _both(0.8, 0.4, 0.2, 1.0, 0.6, 0.1, 1.2, 0.3),
    ),
    'cosine': Variant(
        'cosine classifier, logit-adjusted', _cosine, 'classifier_temperature',
        {SEGMENTATION: (0.05, 0.1, 0.03, 0.2, 0.07, 0.15, 0.04, 0.02),
         CLASSIFICATION: (1 / 30, 1 / 16, 1 / 20, 1 / 50, 1 / 10, 1 / 25, 1 / 40, 1 / 64)},
    ),
    'gml': Variant(
        'GML', _gml, 'alpha', _ALPHAS,
        note='with teacher and settings of GMLLoss as far as the config gives them; without a '
        'teacher, keys are the features of the model itself',
    ),
}  # fmt: skip
"""Name to method, in the order they are listed to users."""

_SAMPLERS = {SEGMENTATION: 'rfs', CLASSIFICATION: 'class-balanced'}
_ALIASES = {
    'cross-entropy': 'ce', 'logit-adjustment': 'la', 'bs': 'balanced-softmax',
    'post-hoc': 'la-post-hoc', 'post-hoc-la': 'la-post-hoc', 'ldam': 'ldam-drw',
    'class-aware': 'class-balanced', 'repeat-factor': 'rfs', 'weighted-ce': 'class-weight',
}  # fmt: skip
ALWAYS = ('class-weight', 'la-post-hoc')
"""Methods without which no comparison says much: cheap, and hard to beat."""
