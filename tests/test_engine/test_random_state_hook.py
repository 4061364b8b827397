"""Random states go into checkpoints, and come back just before the first batch."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import IterBasedTrainLoop, Runner
from PIL import Image

from lt_mm.engine.hooks import RandomStateHook

LENGTH = 6


def draw():
    return [random.random(), np.random.rand(), torch.rand(()).item()]


class Draws(BaseDataset):
    """Each sample is its index and three random numbers."""

    def load_data_list(self):
        return [{} for _ in range(LENGTH)]

    def prepare_data(self, idx):
        return (idx, *draw())


class Recorder(BaseModel):
    """Keeps what it was trained on, and draws numbers itself."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.record = []

    def forward(self, *data, mode='tensor'):
        if mode == 'loss':
            self.record.append([data, draw()])
            return dict(loss=self.layer(torch.ones(1, 1)).sum())
        draw()
        return [{}]


class Best(BaseMetric):
    default_prefix = 'best'

    def process(self, data_batch, data_samples):
        self.results.append(draw())

    def compute_metrics(self, results):
        """The first validation is the best."""
        self.calls = getattr(self, 'calls', 0) + 1
        return dict(value=-self.calls)


class OldLoop(IterBasedTrainLoop):
    """Skips as OpenMMLab's mmengine 0.10.7 does: by drawing the batches."""

    class Batches:
        def __init__(self, loader):
            self.iterator = iter(loader)

        def __next__(self):
            return next(self.iterator)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dataloader_iterator = self.Batches(self.dataloader)

    def run(self):
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        for _ in range(self._iter):
            next(self.dataloader_iterator)
        while self._iter < self._max_iters:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
        self.runner.call_hook('after_train')


def loader(sampler, workers=0, persistent=False):
    return dict(
        batch_size=2, num_workers=workers, persistent_workers=persistent, dataset=Draws(),
        sampler=dict(type=sampler),
    )  # fmt: skip


def make_runner(folder, hooks=True, by_epoch=False, loop=None, workers=0, persistent=False, **more):
    """Two epochs or six iterations, with a validation and a checkpoint after half of them."""
    length = dict(max_epochs=2) if by_epoch else dict(max_iters=6, val_interval=3)
    length.update(dict(type=loop) if loop else dict(by_epoch=by_epoch))
    # mmengine's own default is one dict, in which a resumed run leaves its seed to later ones.
    more.setdefault('randomness', dict(seed=None))
    return Runner(
        model=Recorder(),
        work_dir=str(folder),
        train_dataloader=loader(
            'DefaultSampler' if by_epoch else 'InfiniteSampler', workers, persistent
        ),
        train_cfg=length,
        val_dataloader=loader('DefaultSampler'),
        val_cfg=dict(),
        val_evaluator=Evaluator(Best()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 3,
                save_best='best/value', rule='greater',
            )
        ),
        custom_hooks=[dict(type='lt_mm.RandomStateHook')] if hooks else [],
        log_level='ERROR',
        **more,
    )  # fmt: skip


def record(runner):
    """What a training sees; its workers end at once, and not with the next garbage collection."""
    runner.train()
    vars(runner.train_loop).pop('dataloader_iterator', None)
    runner.train_loop.dataloader._iterator = None
    return runner.model.record


CASES = dict(
    iterations=dict(),
    iterations_with_workers=dict(workers=2),
    iterations_with_workers_that_stay=dict(workers=2, persistent=True),
    iterations_skipped_by_drawing=dict(loop=OldLoop),
    epochs=dict(by_epoch=True),
    epochs_with_workers=dict(by_epoch=True, workers=2),
    epochs_with_workers_that_stay=dict(by_epoch=True, workers=2, persistent=True),
)


@pytest.mark.parametrize('case', CASES)
def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(case, tmp_path, forget_mmengine):
    kwargs = CASES[case]
    runner = make_runner(tmp_path, **kwargs)
    batches = getattr(runner.train_loop, 'dataloader_iterator', None)
    if 'workers' in kwargs and batches is not None and not hasattr(batches, 'skip_iter'):
        pytest.skip('this mmengine starts the workers before any hook')
    expected = record(runner)
    assert len(expected) == 6
    for hooks, seed in ((True, None), (False, runner.seed)):
        forget_mmengine()
        kwargs = {**kwargs, 'randomness': dict(seed=seed)}
        checkpoint = str(tmp_path / ('epoch_1.pth' if 'by_epoch' in kwargs else 'iter_3.pth'))
        runner = make_runner(
            tmp_path / str(hooks), hooks, resume=True, load_from=checkpoint, **kwargs
        )
        assert (record(runner) == expected[3:]) is hooks


@pytest.mark.parametrize('name', ['iter_3.pth', 'best_best_value_iter_3.pth'])
def test_also_from_the_best_checkpoint(name, tmp_path, forget_mmengine):
    """It is saved while validating, when random numbers have been drawn for that."""
    straight = make_runner(tmp_path)
    straight.train()
    forget_mmengine()
    runner = make_runner(tmp_path / 'resumed', resume=True, load_from=str(tmp_path / name))
    runner.train()
    assert runner.model.record == straight.model.record[3:]


def saved(hook, runner):
    """What the hook puts into a checkpoint, loaded as safely as can be."""
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.register_hook(hook)
    runner.call_hook('before_train')
    runner.save_checkpoint(runner.work_dir, 'saved.pth')
    checkpoint = torch.load(f'{runner.work_dir}/saved.pth', weights_only=True)
    return dict(random_states=checkpoint['random_states'])


def test_states_are_plain_and_those_of_every_generator(tmp_path):
    runner, hook = make_runner(tmp_path), RandomStateHook()
    torch.randn(1), random.gauss(0, 1), np.random.randn()
    loaded = saved(hook, runner)
    expected = [*draw(), random.gauss(0, 1), np.random.randn(), torch.randn(1)]
    (state,) = loaded['random_states']
    assert state['sampler_seed'] == runner.seed
    assert ('cuda' in state) == torch.cuda.is_available()
    hook.after_load_checkpoint(runner, loaded)
    runner.train_loop._epoch, runner.train_loop._iter = 1, 3
    del runner.train_loop.dataloader_iterator
    hook.before_train_epoch(runner)
    assert [*draw(), random.gauss(0, 1), np.random.randn(), torch.randn(1)] == expected


@pytest.mark.parametrize('case', ['load_from', 'made without the hook', 'other ranks'])
def test_states_are_left_alone(case, tmp_path, caplog):
    runner, hook = make_runner(tmp_path), RandomStateHook()
    checkpoint = saved(hook, runner)
    checkpoint['random_states'] *= 2 if case == 'other ranks' else 1
    hook.after_load_checkpoint(runner, {} if case == 'made without the hook' else checkpoint)
    runner.train_loop._iter = 0 if case == 'load_from' else 3
    runner.logger.addHandler(caplog.handler)
    iterator = runner.train_loop.dataloader_iterator
    draw()
    expected = saved(hook, runner)
    hook.before_train_epoch(runner)
    found = saved(hook, runner)
    assert torch.equal(*(x['random_states'][0].pop('torch') for x in (expected, found)))
    assert found == expected
    assert runner.train_loop.dataloader_iterator is iterator
    message = 'holds the random states of 2 ranks and training goes on with 1'
    assert (message in caplog.text) is (case == 'other ranks')


def train_rank(rank, folder):
    records = []
    for load_from in (None, str(folder / 'iter_3.pth')):
        runner = make_runner(
            folder if load_from is None else folder / 'resumed',
            load_from=load_from,
            resume=load_from is not None,
            randomness=dict(seed=None, diff_rank_seed=True),
        )
        runner.train()
        records.append(runner.model.record)
    return records


def test_a_checkpoint_at_another_moment_has_no_states(tmp_path, caplog):
    """Only rank 0 saves, when it is too late to ask the others."""
    runner, hook = make_runner(tmp_path), RandomStateHook()
    runner._world_size = 2
    runner.logger.addHandler(caplog.handler)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == {}
    assert 'only where CheckpointHook saves: this checkpoint has none' in caplog.text


def test_each_rank_gets_its_own_states_back(two_ranks, tmp_path):
    ranks = two_ranks(train_rank, tmp_path)
    for straight, resumed in ranks:
        assert straight[3:] == resumed
    assert ranks[0][0] != ranks[1][0]


def test_an_epoch_based_run_of_mmpretrain(tmp_path, forget_mmengine):
    text = (Path(__file__).parents[1] / 'data' / 'tiny_classification.py').read_text()
    rng = np.random.default_rng(0)
    for label in 'ab':
        (tmp_path / 'images' / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(256, size=(40, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'images' / label / f'{i}.png')
    (tmp_path / 'config.py').write_text(text.replace('DATA', str(tmp_path / 'images')))
    cfg = Config.fromfile(tmp_path / 'config.py')
    cfg.pipeline[1:2] = [
        dict(type='RandomResizedCrop', scale=32),
        dict(type='RandomFlip', prob=0.5),
    ]
    cfg.train_dataloader.dataset.pipeline = cfg.pipeline
    cfg.train_cfg.max_epochs = 4
    cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    cfg.log_level = 'ERROR'

    def weights(name, hooks=('lt_mm.RandomStateHook',), **kwargs):
        forget_mmengine()
        cfg.work_dir = str(tmp_path / name)
        cfg.custom_hooks = [dict(type=hook) for hook in hooks]
        runner = Runner.from_cfg(Config({**cfg, **kwargs}))
        return torch.cat([p.flatten() for p in runner.train().parameters()])

    expected = weights('straight', randomness=dict(seed=0))
    middle = dict(resume=True, load_from=str(tmp_path / 'straight' / 'epoch_2.pth'))
    resumed = weights('resumed', randomness=dict(seed=None), **middle)
    assert torch.equal(resumed, expected)
    unaided = weights('unaided', hooks=(), randomness=dict(seed=0), **middle)
    assert not torch.equal(unaided, expected)
