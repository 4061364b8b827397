"""What mmengine's Runner offers works with a GML segmentor."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

QUEUE = 'decode_head.contrast.queue.'


class Watch(Hook):
    """Weights of the classifier and what was logged, after each iteration."""

    def __init__(self):
        self.weights, self.filled, self.logs = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        head = runner.model.decode_head
        self.weights.append(head.conv_seg.weight.detach().clone())
        self.filled.append(int(head.contrast.queue.filled.sum()))
        self.logs.append({name: value.item() for name, value in outputs.items()})


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for name, shape, high in (('images', (64, 64, 3), 256), ('labels', (64, 64), 3)):
        (folder / name).mkdir()
        for i in range(4):
            pixels = rng.integers(high, size=shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{i}.png')
    return folder


@pytest.fixture
def train(data, tmp_path, forget_mmengine):
    """A function that trains for four iterations, and returns runner and Watch."""
    text = (Path(__file__).parents[1] / 'data' / 'tiny_segmentation.py').read_text()
    (tmp_path / 'tiny.py').write_text(text.replace('DATA', str(data)))

    def run(work_dir='run', hooks=(), optim=None, compile=False, val=False, **kwargs):
        forget_mmengine()
        # mmengine's own default is one dict, in which a resumed run leaves its seed to later ones.
        kwargs.setdefault('randomness', dict(seed=None))
        cfg = Config.fromfile(tmp_path / 'tiny.py')
        cfg.model.decode_head.update(
            type='lt_mm.GMLFCNHead',
            contrast=dict(size=2000, min_size=50, widths=(8, 8), trainable_temperature=True),
        )
        cfg.train_dataloader.dataset.serialize_data = False
        cfg.optim_wrapper.update(optim or {})
        counts = dict(type='lt_mm.ClassCountsHook', class_counts=[50, 30, 20])
        if val:
            kwargs.update(val_dataloader=cfg.test_dataloader, val_evaluator=cfg.test_evaluator)
            kwargs.update(val_cfg=dict())
        # Not Runner.from_cfg: formatting the whole config would take longer than the training.
        runner = Runner(
            cfg.model,
            str(tmp_path / work_dir),
            cfg.train_dataloader,
            train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
            optim_wrapper=cfg.optim_wrapper,
            default_hooks=cfg.default_hooks,
            custom_hooks=[counts, dict(type='lt_mm.RandomStateHook'), *hooks],
            log_level='ERROR',
            default_scope='mmseg',
            cfg=dict(compile=compile),
            **kwargs,
        )
        watch = Watch()
        runner.register_hook(watch)
        runner.train()
        return runner, watch

    return run


def load(runner, name='iter_4.pth'):
    return torch.load(Path(runner.work_dir) / name, weights_only=False)


def ema(**kwargs):
    return dict(type='EMAHook', momentum=0.25, **kwargs)


FEATURES = dict(
    ema=dict(hooks=[ema()], val=True),
    ema_of_buffers=dict(hooks=[ema(update_buffers=True)], val=True),
    ema_that_begins_late=dict(hooks=[ema(begin_iter=3)]),
    accumulated_gradients=dict(optim=dict(accumulative_counts=2)),
    clipped_gradients=dict(optim=dict(clip_grad=dict(max_norm=0.1))),
)


@pytest.mark.parametrize('feature', FEATURES)
def test_trains_and_resumes_exactly(feature, train):
    runner, _ = train(**FEATURES[feature], randomness=dict(seed=0))
    straight = load(runner)
    middle = str(Path(runner.work_dir) / 'iter_2.pth')
    resumed = load(train('resumed', **FEATURES[feature], resume=True, load_from=middle)[0])
    for part in ('state_dict', 'ema_state_dict'):
        assert (part in straight) == (part == 'state_dict' or 'ema' in feature)
        for name, value in straight.get(part, {}).items():
            assert torch.equal(resumed[part][name], value), name
    assert resumed['optimizer']['state'].keys() == straight['optimizer']['state'].keys()


@pytest.mark.parametrize('update_buffers', [False, True])
def test_ema_saves_the_average_and_the_weights_it_is_of(update_buffers, train):
    runner, watch = train(hooks=[ema(update_buffers=update_buffers)])
    checkpoint = load(runner)
    name = 'decode_head.conv_seg.weight'
    average = watch.weights[0]
    for weight in watch.weights[1:]:
        average = 0.75 * average + 0.25 * weight
    torch.testing.assert_close(checkpoint['state_dict'][name], average)
    assert torch.equal(checkpoint['ema_state_dict'][f'module.{name}'], watch.weights[-1])
    for part, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        counts = checkpoint[part][f'{prefix}decode_head.contrast.class_counts.counts']
        assert counts.tolist() == [50, 30, 20]
        assert checkpoint[part][f'{prefix}{QUEUE}filled'].sum() > 0


def test_a_second_stage_with_ema_starts_from_other_class_counts(train):
    runner, _ = train()
    checkpoint = load(runner)
    checkpoint['state_dict']['decode_head.contrast.class_counts.counts'] = torch.tensor([1, 1, 1])
    torch.save(checkpoint, Path(runner.work_dir) / 'stage1.pth')
    stage1 = str(Path(runner.work_dir) / 'stage1.pth')
    state = load(train('stage2', hooks=[ema()], load_from=stage1)[0])['state_dict']
    assert state['decode_head.contrast.class_counts.counts'].tolist() == [50, 30, 20]


def test_accumulated_gradients_step_every_second_iteration_and_queue_at_each(train):
    _, watch = train(optim=dict(accumulative_counts=2))
    first, second, third, fourth = watch.weights
    assert torch.equal(second, third) and not torch.equal(first, second)
    assert not torch.equal(third, fourth)
    assert watch.filled == sorted(set(watch.filled))


def test_clipped_gradients(train):
    clip, seed = dict(clip_grad=dict(max_norm=0.1)), dict(seed=0)
    steps = []
    for optim in ({}, clip):
        runner, watch = train('clip' if optim else 'free', optim=optim, randomness=seed)
        steps.append((watch.weights[-1] - watch.weights[-2]).norm().item())
    assert runner.message_hub.get_scalar('train/grad_norm').current() > 0.1
    # The learning rate times max_norm bounds a step of plain SGD.
    assert steps[1] < 0.01 * 0.1 < steps[0]


@pytest.mark.slow
def test_compiled_losses_are_those_of_eager(train):
    _, plain = train(randomness=dict(seed=0))
    _, compiled = train('compiled', compile=dict(backend='eager'), randomness=dict(seed=0))
    assert plain.logs == compiled.logs
    assert {'decode.loss_gml', 'decode.loss_cls'} <= plain.logs[0].keys()


def test_losses_under_bfloat16_autocast_are_close_to_those_in_float32(train):
    runner, _ = train(randomness=dict(seed=0))
    data = next(runner.train_loop.dataloader_iterator)
    losses = []
    for enabled in (False, True):
        model = copy.deepcopy(runner.model).train()
        batch = model.data_preprocessor(copy.deepcopy(data), training=True)
        torch.manual_seed(0)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            losses.append(model(**batch, mode='loss'))
        sum(value for name, value in losses[-1].items() if 'loss' in name).backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    for name, exact in losses[0].items():
        if 'loss' in name:
            assert losses[1][name].dtype == torch.float32
            torch.testing.assert_close(losses[1][name], exact, rtol=0.02, atol=0.02)
    assert not torch.equal(losses[0]['decode.loss_gml'], losses[1]['decode.loss_gml'])
