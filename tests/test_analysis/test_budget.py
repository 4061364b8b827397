"""Schedules at another length: places in proportion, and the learning rates that come of them."""

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim.scheduler import ExponentialLR
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from lt_mm.analysis.budget import is_by_epoch, type_name, with_budget

ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=100)


def rates(schedulers, iterations, lr=1.0):
    """Learning rate of each iteration of a loop by iteration, as mmengine's Runner steps it."""
    layer = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    schedulers = [schedulers] if 'type' in schedulers else schedulers
    built = [
        PARAM_SCHEDULERS.build({'end': iterations, **one}, default_args=dict(optimizer=optimizer))
        for one in deepcopy(schedulers)
    ]
    seen = []
    for _ in range(iterations):
        seen.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for one in built:
            one.step()
    return seen


@pytest.mark.parametrize(
    'scheduler',
    [
        dict(type='PolyLR', eta_min=0.01, power=0.9, begin=0, end=1000, by_epoch=False),
        dict(type='CosineAnnealingLR', T_max=1000, eta_min=0.0, begin=0, end=1000, by_epoch=False),
        dict(type='MultiStepLR', milestones=[600, 800], gamma=0.1, by_epoch=False),
        dict(type='StepLR', step_size=300, gamma=0.5, by_epoch=False),
        dict(type='ExponentialLR', gamma=0.995, by_epoch=False),
        [
            dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
            dict(type='PolyLR', power=1.0, begin=100, end=1000, by_epoch=False),
        ],
    ],
)
def test_schedule_by_iteration_keeps_its_shape(scheduler):
    config = Config(dict(train_cfg=ITERATIONS, param_scheduler=scheduler))
    short = with_budget(config, 100, 1)
    assert short.train_cfg.to_dict() == dict(
        type='IterBasedTrainLoop', max_iters=100, val_interval=100
    )
    whole, part = rates(scheduler, 1000), rates(short.param_scheduler, 100)
    for i in (0, 15, 50, 65, 85, 99):
        assert part[i] == pytest.approx(whole[10 * i], abs=0.06)
    # Left as it was.
    assert config.train_cfg.max_iters == 1000


def test_epochs_become_iterations():
    config = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=200, val_interval=1),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
                dict(type='MultiStepLR', by_epoch=True, milestones=[100, 150], gamma=0.1),
                dict(type='LinearLR', by_epoch=False, begin=0, end=500),
            ],
            custom_hooks=[
                dict(type='lt_mm.DeferredHook', begin=160),
                dict(type='EMAHook', begin_epoch=100),
                dict(type='NumClassCheckHook'),
            ],
        )
    )
    short = with_budget(config, 400, epoch_length=50)
    warm, steps, iterations = short.param_scheduler
    assert (warm.end, warm.by_epoch) == (10, False) and 'convert_to_iter_based' not in warm
    assert (steps.milestones, steps.by_epoch) == ([200, 300], False)
    # 500 of 10000 iterations.
    assert iterations.end == 20
    deferred, average, other = short.custom_hooks
    assert (deferred.begin, deferred.by_epoch) == (320, False)
    assert average.begin_iter == 200 and 'begin_epoch' not in average
    assert dict(other) == dict(type='NumClassCheckHook')
    hooks = short.default_hooks
    assert hooks.checkpoint.by_epoch is False and hooks.checkpoint.interval == 400
    assert hooks.logger.log_metric_by_epoch is False and short.log_processor.by_epoch is False


def test_a_budget_of_one_leaves_schedules_that_can_be_built():
    for package, name in (
        ('mmseg', 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'),
        ('mmseg', 'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
        ('mmpretrain', 'resnet/resnet18_8xb16_cifar10.py'),
        ('mmpretrain', 'swin_transformer/swin-tiny_16xb64_in1k.py'),
    ):
        config = get_config(f'{package}::{name}')
        for iterations in (1, 7, 1000):
            short = with_budget(config, iterations, 10)
            assert len(rates(short.param_scheduler, iterations)) == iterations
            assert 'save_best' not in short.default_hooks.checkpoint


def test_a_decay_a_step_comes_to_the_same_in_the_end():
    config = Config(
        dict(train_cfg=ITERATIONS, param_scheduler=dict(type='ExponentialLR', gamma=0.99,
                                                        by_epoch=False))
    )  # fmt: skip
    gamma = with_budget(config, 10, 1).param_scheduler.gamma
    assert gamma**10 == pytest.approx(0.99**1000)
    assert issubclass(PARAM_SCHEDULERS.get('ExponentialLR'), ExponentialLR)


def test_several_optimizers_have_schedules_each():
    poly = dict(type='PolyLR', begin=0, end=1000, by_epoch=False)
    config = Config(dict(train_cfg=ITERATIONS, param_scheduler=dict(a=poly, b=[poly])))
    short = with_budget(config, 10, 1).param_scheduler
    assert short.a.end == short.b[0].end == 10


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match='the budget is 0 iterations'):
        with_budget(Config(dict(train_cfg=ITERATIONS)), 0, 1)
    with pytest.raises(ValueError, match='neither max_iters nor max_epochs'):
        is_by_epoch(Config(dict(train_cfg=dict(type='OwnLoop'))))


def test_type_names():
    assert type_name(dict(type='mmseg.FCNHead')) == 'FCNHead'
    assert type_name(dict(type=nn.Linear)) == 'Linear'
    assert type_name(None) == type_name({}) == ''
