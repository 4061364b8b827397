"""The schedule of a config at another length."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from mmengine.config import Config, ConfigDict

# What a parameter scheduler counts in epochs or iterations.
_PLACES = ('begin', 'end', 'T_max', 'step_size', 'total_steps', 'total_iters')
# mmengine's own for 'never'.
_ENDLESS = 10**8


def type_name(config: Mapping | None) -> str:
    """Last part of what a ``type`` names, such as 'FCNHead' of 'mmseg.FCNHead'; '' of nothing."""
    kind = (config or {}).get('type', '')
    return (kind if isinstance(kind, str) else kind.__name__).rpartition('.')[2]


def is_by_epoch(config: Config) -> bool:
    """Whether the training loop of a config counts epochs.

    Raises:
        ValueError: if the config does not say how long it trains, or has a loop of its own kind.
    """
    loop = config.get('train_cfg') or {}
    if loop.get('max_iters') is not None:
        return False
    if loop.get('max_epochs') is not None:
        return True
    raise ValueError(
        f'train_cfg of the config is {dict(loop)}, which has neither max_iters nor max_epochs; say '
        'how long it trains.'
    )


def with_budget(config: Config, iterations: int, epoch_length: int) -> Config:
    """The config with a training of so many iterations, validated at its end alone.

    Whatever the parameter schedulers, ``DeferredHook`` and ``EMAHook`` count is shortened or
    lengthened in proportion; a decay a step is changed so that it comes to the same in the end.

    Args:
        config: left as it is.
        iterations: of the new training.
        epoch_length: iterations of an epoch, where the config counts epochs.

    Returns:
        Config: With a loop by iteration.

    Raises:
        ValueError: if ``iterations`` is below 1, or the config does not say how long it trains.
    """
    if iterations < 1:
        raise ValueError(f'the budget is {iterations} iterations; give 1 or more.')
    config = deepcopy(config)
    by_epoch = is_by_epoch(config)
    loop = config.train_cfg
    epochs = loop.max_epochs if by_epoch else None
    before = epochs * epoch_length if by_epoch else loop.max_iters
    # New iterations for an old epoch, and for an old iteration.
    per_epoch = iterations / epochs if by_epoch else None
    per_iteration = iterations / before
    scheduler = config.get('param_scheduler')
    if scheduler is not None:
        config.param_scheduler = _scaled(scheduler, per_epoch, per_iteration)
    for hook in config.get('custom_hooks') or ():
        _scale_hook(hook, per_epoch, per_iteration)
    config.train_cfg = ConfigDict(
        type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations
    )
    count_iterations(config, iterations)
    return config


def count_iterations(config: Config, iterations: int) -> None:
    """Let logs and checkpoints count iterations; one checkpoint is kept, the last.

    Args:
        config: changed in place.
        iterations: of the training.
    """
    hooks = ConfigDict(config.get('default_hooks') or {})
    logger = ConfigDict(hooks.get('logger') or dict(type='LoggerHook'))
    hooks['logger'] = ConfigDict(logger, log_metric_by_epoch=False)
    checkpoint = ConfigDict(hooks.get('checkpoint') or dict(type='CheckpointHook'))
    checkpoint.update(by_epoch=False, interval=iterations, max_keep_ckpts=1)
    checkpoint.pop('save_best', None)
    hooks['checkpoint'] = checkpoint
    config.default_hooks = hooks
    config.log_processor = ConfigDict(config.get('log_processor') or {}, by_epoch=False)


def _scaled(scheduler: Any, per_epoch: float | None, per_iteration: float) -> Any:
    if isinstance(scheduler, Sequence):
        return [_scaled(one, per_epoch, per_iteration) for one in scheduler]
    if 'type' not in scheduler:
        return ConfigDict(
            {name: _scaled(one, per_epoch, per_iteration) for name, one in scheduler.items()}
        )
    scheduler = ConfigDict(deepcopy(scheduler))
    by_epoch = scheduler.get('by_epoch', True) and per_epoch is not None
    factor = per_epoch if by_epoch else per_iteration
    scheduler.by_epoch = False
    scheduler.pop('convert_to_iter_based', None)
    for key in _PLACES:
        value = scheduler.get(key)
        if value is not None and value < _ENDLESS:
            least = 0 if key == 'begin' else 1
            scheduler[key] = max(round(value * factor), least)
    for key in ('milestones', 'periods'):
        if scheduler.get(key) is not None:
            scheduler[key] = [max(round(value * factor), 1) for value in scheduler[key]]
    if scheduler.get('end') is not None:
        scheduler.end = max(scheduler.end, scheduler.get('begin', 0) + 1)
    if 'Exponential' in type_name(scheduler):
        scheduler.gamma = scheduler.gamma ** (1 / factor)
    return scheduler


def _scale_hook(hook: Any, per_epoch: float | None, per_iteration: float) -> None:
    kind = type_name(hook)
    if kind == 'DeferredHook':
        by_epoch = hook.get('by_epoch', True) and per_epoch is not None
        hook.update(begin=round(hook.begin * (per_epoch if by_epoch else per_iteration)))
        hook.update(by_epoch=False)
    elif kind == 'EMAHook':
        if 'begin_epoch' in hook and per_epoch is not None:
            hook['begin_iter'] = round(hook.pop('begin_epoch') * per_epoch)
        elif 'begin_iter' in hook:
            hook['begin_iter'] = round(hook['begin_iter'] * per_iteration)
