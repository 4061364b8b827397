"""A LongTailClassifier under mmengine's Runner: resumed bit for bit, averaged, accumulated."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

PIPELINE = [
    dict(
        type='MultiView',
        transforms=[
            [dict(type='Resize', scale=8)],
            [dict(type='RandomCrop', crop_size=8, padding=1)],
        ],
        num_views=[1, 2],
    ),
    dict(type='PackInputs'),
]


@pytest.fixture
def run(tmp_path, config, forget_mmengine):
    """A function that trains two epochs of five iterations on digits, and returns the Runner."""

    def train(work_dir, hooks=(), optim_wrapper=(), resume=False, **model):
        forget_mmengine()
        head = dict(
            num_classes=10,
            contrast=dict(size=200, min_size=5, widths=(8,), trainable_temperature=True),
        )
        loader = dict(
            batch_size=64,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='lt_mm.DigitsLT', pipeline=PIPELINE),
        )
        cfg = dict(
            default_scope='mmpretrain',
            model=config(head=head | model.pop('head', {}), **model),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=0.1, momentum=0.9), **dict(optim_wrapper)
            ),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='CheckpointHook', interval=1),
            ),
            custom_hooks=[
                dict(type='lt_mm.ClassCountsHook'),
                dict(type='lt_mm.RandomStateHook'),
                *hooks,
            ],
            randomness=dict(seed=3),
            work_dir=str(tmp_path / work_dir),
            load_from=str(tmp_path / 'straight' / 'epoch_1.pth') if resume else None,
            resume=resume,
        )
        runner = Runner.from_cfg(Config(copy.deepcopy(cfg)))
        runner.train()
        return runner

    return train


def saved(runner):
    return torch.load(f'{runner.work_dir}/epoch_2.pth', weights_only=False)


@pytest.mark.parametrize('source', ['own keys', 'momentum', 'teacher'])
def test_resumed_run_equals_one_left_alone(run, teacher, source):
    changes = {
        'own keys': dict(),
        'momentum': dict(key_momentum=0.9),
        'teacher': dict(
            teacher=teacher(num_classes=10), head=dict(distillation=dict(type='TinyDistillation'))
        ),
    }[source]
    straight = run('straight', **copy.deepcopy(changes))
    resumed = run('resumed', resume=True, **changes)
    assert straight.iter == resumed.iter == 10
    expected, got = saved(straight)['state_dict'], saved(resumed)['state_dict']
    assert list(expected) == list(got)
    for name, value in expected.items():
        assert torch.equal(value, got[name]), name
    assert expected['head.contrast.queue.filled'].sum() > 50
    assert ('key_encoder.steps' in expected) == (source == 'momentum')
    assert not any('teacher' in name for name in expected)


def test_temperature_is_logged_and_moves(run):
    runner = run('straight')
    values = runner.message_hub.get_scalar('train/gml_temperature').data[0]
    assert len(values) == 10 and values[0] == pytest.approx(0.07) and values[-1] != values[0]
    filled = runner.message_hub.get_scalar('train/gml_queue_filled').data[0]
    assert 0 < filled[0] < filled[-1] <= 1


def test_averaged_model_and_accumulated_gradients(run):
    """mmengine's EMAHook copies the model, with its queue and its momentum encoder."""
    runner = run(
        'straight',
        hooks=[dict(type='EMAHook', momentum=0.1)],
        optim_wrapper=dict(accumulative_counts=2),
        key_momentum=0.9,
    )
    checkpoint = saved(runner)
    averaged, raw = checkpoint['state_dict'], checkpoint['ema_state_dict']
    assert torch.equal(
        averaged['head.contrast.queue.lengths'], runner.model.head.contrast.queue.lengths
    )
    assert not torch.equal(averaged['head.fc.weight'], raw['module.head.fc.weight'])
    assert int(runner.model.key_encoder.steps) == 10
    assert all(value.isfinite().all() for value in averaged.values())
