"""ReinitializeHook: after load_from, not on resume, and the weights of the run's seed."""

import copy
import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

MODEL = dict(
    type='lt_mm.LongTailClassifier',
    freeze_encoder=True,
    backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='lt_mm.LongTailClsHead', num_classes=10, in_channels=64),
)
PIPELINE = [dict(type='Resize', scale=8), dict(type='PackInputs')]


@pytest.fixture
def run(tmp_path, forget_mmengine):
    """A function that trains epochs of two iterations and returns the Runner and first weights."""

    def train(
        work_dir, parts=('head.fc',), seed=3, epochs=1, lr=0.1, hooks=(), log=None, **settings
    ):
        forget_mmengine()
        hook = [dict(type='lt_mm.ReinitializeHook', parts=list(parts))] if parts else []
        cfg = dict(
            default_scope='mmpretrain',
            model=copy.deepcopy(MODEL),
            train_dataloader=dict(
                batch_size=200,
                num_workers=0,
                drop_last=False,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='lt_mm.DigitsLT', pipeline=PIPELINE),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[dict(type='lt_mm.RandomStateHook'), *hook, *hooks],
            randomness=dict(seed=seed),
            work_dir=str(tmp_path / work_dir),
            log_level='WARNING',
            **settings,
        )
        runner = Runner.from_cfg(Config(cfg))
        if log is not None:
            runner.logger.addHandler(log)
        runner.train()
        return runner

    return train


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


@pytest.fixture
def first(run, tmp_path):
    """A trained first stage."""
    run('first', parts=None, seed=0)
    return str(tmp_path / 'first' / 'epoch_1.pth')


@pytest.fixture
def initial(run, tmp_path):
    """What a run with seed 3 is initialised with."""
    run('initial', parts=None, lr=0.0)
    return weights(tmp_path / 'initial' / 'epoch_1.pth')


def test_parts_begin_as_initialised_and_the_rest_as_loaded(run, first, initial):
    runner = run('second', load_from=first, lr=0.0)
    loaded, got = weights(first), runner.model.state_dict()
    assert not torch.equal(loaded['head.fc.weight'], initial['head.fc.weight'])
    for name in loaded:
        source = initial if name.startswith('head.fc.') else loaded
        assert torch.equal(got[name], source[name]), name


def test_without_the_hook_all_is_as_loaded(run, first):
    runner = run('second', parts=None, load_from=first, lr=0.0)
    loaded = weights(first)
    assert all(torch.equal(value, loaded[k]) for k, value in runner.model.state_dict().items())


def test_a_resumed_training_is_left_alone(run, first, tmp_path):
    straight = run('straight', load_from=first, epochs=2)
    middle = str(tmp_path / 'straight' / 'epoch_1.pth')
    resumed = run('resumed', load_from=middle, resume=True, epochs=2)
    assert straight.iter == resumed.iter
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_an_averaged_model_begins_with_the_same_weights(run, first, initial):
    runner = run('second', load_from=first, lr=0.0, hooks=[dict(type='EMAHook', momentum=0.5)])
    averaged = weights(f'{runner.work_dir}/epoch_1.pth')
    assert torch.equal(averaged['head.fc.weight'], initial['head.fc.weight'])


def test_nothing_loaded_is_said(run, caplog):
    with caplog.at_level(logging.WARNING):
        run('alone', log=caplog.handler)
    assert 'ReinitializeHook has nothing to do for head.fc, because no checkpoint' in caplog.text


def test_bad_input(run, first):
    with pytest.raises(ValueError, match="no module 'head.layers' in LongTailClassifier; name"):
        run('second', parts=['head.layers'], load_from=first)
    from lt_mm.engine.hooks import ReinitializeHook

    for parts in ([], 'head.fc'):
        with pytest.raises(ValueError, match='must be a list of paths'):
            ReinitializeHook(parts)
