"""Samplers, their priors and the deferred part of a training, through mmengine's Runner."""

from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner

from lt_mm.datasets.samplers import ClassBalancedSampler
from lt_mm.engine.hooks import DeferredHook
from lt_mm.functional import queue_lengths
from lt_mm.models.layers import ClassQueue
from lt_mm.models.losses import LogitAdjustedLoss
from lt_mm.registry import DATA_SAMPLERS

LABELS = [0] * 12 + [1] * 3 + [2]
OF_COUNTS = torch.tensor([12 / 16, 3 / 16, 1 / 16])
UNIFORM = torch.full((3,), 1 / 3)


class Labels(BaseDataset):
    def __init__(self):
        super().__init__(metainfo=dict(classes=('a', 'b', 'c')))

    def load_data_list(self):
        return [dict(gt_label=label) for label in LABELS]

    def prepare_data(self, idx):
        return dict(index=idx, label=LABELS[idx], noise=np.random.rand())


class Reweighted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = []

    def set_deferred(self, active):
        self.calls.append(active)


class Model(BaseModel):
    """Learns from its labels, and writes down what it saw."""

    def __init__(self, alpha=1.0, deferred=False):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(1, 3)
        self.loss = LogitAdjustedLoss(alpha)
        self.queue = ClassQueue(3, 2, size=32, min_size=2)
        self.reweighted = Reweighted() if deferred else None
        self.indices, self.priors, self.active = [], [], []

    def forward(self, index, label, noise, mode='tensor'):
        self.indices.append(index.tolist())
        self.priors.append(self.loss.class_counts.log_prior.exp().clone())
        if self.reweighted is not None:
            self.active.append(self.reweighted.calls[-1])
        return dict(loss=self.loss(self.layer(noise[:, None].float()), label))


def make_runner(folder, sampler, length, by_epoch, hooks=(), model=None, interval=1, **more):
    workers = more.pop('workers', 0)
    more.setdefault('randomness', dict(seed=None))
    return Runner(
        model=model or Model(),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=Labels(),
            batch_size=4,
            num_workers=workers,
            collate_fn=dict(type='default_collate'),
            sampler=sampler,
        ),
        train_cfg=dict(by_epoch=by_epoch, **{'max_epochs' if by_epoch else 'max_iters': length}),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', log_metric_by_epoch=by_epoch),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=interval),
        ),
        log_processor=dict(by_epoch=by_epoch),
        custom_hooks=[dict(type='lt_mm.ClassCountsHook'), *hooks],
        experiment_name=f'{folder.name}_{id(more)}',
        log_level='ERROR',
        **more,
    )


def train(*args, **kwargs):
    """A finished run, whose workers end at once and not with the next garbage collection."""
    runner = make_runner(*args, **kwargs)
    runner.train()
    vars(runner.train_loop).pop('dataloader_iterator', None)
    return runner


def test_a_balanced_sampler_and_a_logit_adjusted_loss_correct_once(tmp_path):
    sampler = dict(type='lt_mm.ClassBalancedSampler')
    runner = train(tmp_path, sampler, 1, True, model=Model(alpha=1.0))
    model = runner.model
    for prior in model.priors:
        torch.testing.assert_close(prior, UNIFORM)
    # A uniform prior adds the same to all logits: the loss is plain cross-entropy.
    logits, labels = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    plain = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(model.loss(logits, labels), plain)
    # What goes by counts keeps those of the data set.
    assert model.loss.class_counts.counts.tolist() == [12, 3, 1]
    assert model.queue.lengths.tolist() == queue_lengths([12, 3, 1], 32, 2).tolist()
    state = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    kept = state['state_dict']
    torch.testing.assert_close(kept['loss.class_counts.log_prior'].exp(), UNIFORM)
    assert state['meta']['class_counts'] == [12, 3, 1]
    fresh = Model(alpha=1.0)
    fresh.load_state_dict(kept)
    torch.testing.assert_close(fresh.loss(logits, labels), plain)


def test_other_samplers_leave_the_prior_of_the_counts(tmp_path):
    runner = train(tmp_path, dict(type='DefaultSampler', shuffle=True), 1, True)
    torch.testing.assert_close(runner.model.priors[0], OF_COUNTS)


def test_a_sampler_of_another_package_may_tell_its_prior(tmp_path):
    @DATA_SAMPLERS.register_module(force=True)
    class Telling(torch.utils.data.SequentialSampler):
        class_distribution = np.array([2.0, 1.0, 1.0])

        def __init__(self, dataset, seed=None):
            super().__init__(dataset)

    runner = train(tmp_path, dict(type='lt_mm.Telling'), 1, True)
    for prior in runner.model.priors:
        torch.testing.assert_close(prior, torch.tensor([0.5, 0.25, 0.25]))


def test_a_square_root_sampler_leaves_half_of_the_correction(tmp_path):
    runner = train(tmp_path, dict(type='lt_mm.ClassBalancedSampler', q=0.5), 1, True)
    torch.testing.assert_close(runner.model.priors[0], OF_COUNTS.sqrt() / OF_COUNTS.sqrt().sum())


def test_the_hook_can_leave_the_prior_alone(tmp_path):
    runner = make_runner(tmp_path, dict(type='lt_mm.ClassBalancedSampler'), 1, True)
    runner.train_loop
    for hook in runner.hooks:
        if hasattr(hook, 'sampler_prior'):
            hook.sampler_prior = False
    runner.train()
    torch.testing.assert_close(runner.model.priors[0], OF_COUNTS)


@pytest.mark.parametrize(('by_epoch', 'workers'), [(True, 0), (False, 0), (False, 2)])
def test_the_prior_follows_the_progress(tmp_path, by_epoch, workers):
    sampler = dict(type='lt_mm.ProgressivelyBalancedSampler', epochs=2, infinite=not by_epoch)
    length = 3 if by_epoch else 12
    runner = train(tmp_path, sampler, length, by_epoch, workers=workers)
    assert len(runner.model.priors) == 12
    for i, prior in enumerate(runner.model.priors):
        t = (i // 4) / 2
        torch.testing.assert_close(prior, (1 - t) * OF_COUNTS + t * UNIFORM)


class Told(torch.nn.Module):
    """Keeps all that it is told."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def set_class_counts(self, class_counts):
        self.counts.append(class_counts)


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('sampler', ['ClassBalancedSampler', 'ProgressivelyBalancedSampler'])
def test_modules_are_told_where_the_prior_changes_and_nowhere_else(
    tmp_path, sampler, by_epoch, forget_mmengine
):
    """Twice at the start, as always; 24 iterations are 6 passes, and T = 3."""
    settings = dict(type=f'lt_mm.{sampler}', infinite=not by_epoch)
    changes = 0
    if sampler == 'ProgressivelyBalancedSampler':
        settings.update(epochs=3)
        changes = 3
    length = 6 if by_epoch else 24
    hooks = [dict(type='lt_mm.RandomStateHook')]

    def run(name, **more):
        forget_mmengine()
        model = Model()
        model.told = Told()
        train(tmp_path / name, settings, length, by_epoch, hooks, model=model, **more)
        return model

    straight = run('straight')
    told = [counts.log_prior() for counts in straight.told.counts]
    assert len(told) == 2 + changes
    assert torch.equal(told[0], told[1])
    for earlier, later in zip(told[1:], told[2:], strict=False):
        assert not torch.equal(earlier, later)
    checkpoint = str(tmp_path / 'straight' / 'iter_9.pth')
    resumed = run('resumed', resume=True, load_from=checkpoint)
    for found, wanted in zip(resumed.priors, straight.priors[9:], strict=True):
        assert torch.equal(found, wanted)
    assert len(resumed.told.counts) <= len(told)


CASES = dict(
    epochs=dict(by_epoch=True, length=3, begin=2, hook_by_epoch=True),
    epochs_by_iteration=dict(by_epoch=True, length=3, begin=6, hook_by_epoch=False),
    iterations=dict(by_epoch=False, length=12, begin=7, hook_by_epoch=False),
    iterations_with_workers=dict(
        by_epoch=False, length=12, begin=7, hook_by_epoch=False, workers=2
    ),
)


@pytest.mark.parametrize('case', CASES)
def test_deferred_weights_and_sampling(case, tmp_path, forget_mmengine):
    case = dict(CASES[case])
    begin, length, by_epoch = case.pop('begin'), case.pop('length'), case['by_epoch']
    hooks = [
        dict(type='lt_mm.DeferredHook', begin=begin, by_epoch=case.pop('hook_by_epoch')),
        dict(type='lt_mm.RandomStateHook'),
    ]
    sampler = dict(type='lt_mm.ClassBalancedSampler', deferred=True, infinite=not by_epoch)

    def run(name, **more):
        forget_mmengine()
        case['hooks'] = hooks
        model = Model(deferred=True)
        return train(tmp_path / name, sampler, length, model=model, **case, **more)

    straight = run('straight', randomness=dict(seed=1)).model
    weights_from = begin * 4 if hooks[0]['by_epoch'] else begin
    sampler_from = 8 if by_epoch else begin
    assert straight.active == [i >= weights_from for i in range(12)]
    for i, prior in enumerate(straight.priors):
        torch.testing.assert_close(prior, UNIFORM if i >= sampler_from else OF_COUNTS)
    assert sorted(sum(straight.indices[:4], [])) == list(range(16))
    again = ClassBalancedSampler(Labels(), seed=1, infinite=not by_epoch)
    if by_epoch:
        again.set_epoch(2)
    expected = list(islice(again, 4 * (12 - sampler_from)))
    assert sum(straight.indices[sampler_from:], []) == expected
    # At the end of an epoch that mmengine takes to be open, just before the change and after it.
    for start in (4, 7, 9):
        checkpoint = str(tmp_path / 'straight' / f'iter_{start}.pth')
        resumed = run(f'from{start}', resume=True, load_from=checkpoint).model
        assert resumed.indices == straight.indices[start:]
        assert resumed.active == straight.active[start:]
        for found, wanted in zip(resumed.priors, straight.priors[start:], strict=True):
            assert torch.equal(found, wanted)
        for name, value in straight.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], value), name


SAMPLERS = dict(
    balanced=dict(type='lt_mm.ClassBalancedSampler'),
    progressive=dict(type='lt_mm.ProgressivelyBalancedSampler', epochs=3),
    class_aware=dict(type='lt_mm.ClassAwareSampler', samples_per_class=2),
    repeat_factor=dict(type='lt_mm.RepeatFactorSampler', threshold=0.5),
)


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize(('name', 'workers'), [*((name, 0) for name in SAMPLERS), ('balanced', 2)])
def test_a_run_resumed_within_a_pass_is_the_same(
    name, by_epoch, workers, tmp_path, forget_mmengine
):
    """Without a seed in the config, and at an odd place; passes have 16 or, at last, 21 images."""
    sampler = dict(SAMPLERS[name], infinite=not by_epoch)
    hooks = [dict(type='lt_mm.RandomStateHook')]
    length = 2 if by_epoch else 9
    straight = train(tmp_path / 'a', sampler, length, by_epoch, hooks, workers=workers)
    per_epoch = len(straight.train_dataloader)
    for start in (3, per_epoch + 1):
        forget_mmengine()
        checkpoint = str(tmp_path / 'a' / f'iter_{start}.pth')
        resumed = train(
            tmp_path / str(start), sampler, length, by_epoch, hooks, workers=workers, resume=True,
            load_from=checkpoint,
        )  # fmt: skip
        assert resumed.iter == straight.iter
        assert resumed.model.indices == straight.model.indices[start:]
        for name, value in straight.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[name], value), name


def test_what_a_deferred_hook_refuses(tmp_path):
    with pytest.raises(ValueError, match='begin of DeferredHook is -1'):
        DeferredHook(-1)
    cases = (
        (dict(type='lt_mm.DeferredHook', begin=2), 'counts epochs, but the training loop goes by'),
        (dict(type='lt_mm.DeferredHook', begin=2, by_epoch=False), 'give it infinite=True'),
    )
    sampler = dict(type='lt_mm.ClassBalancedSampler', deferred=True)
    for i, (hook, text) in enumerate(cases):
        runner = make_runner(tmp_path / str(i), sampler, 4, False, [hook])
        with pytest.raises(ValueError, match=text):
            runner.train()


def test_a_deferred_hook_that_changes_nothing_says_so(tmp_path, caplog):
    sampler = dict(type='lt_mm.ClassBalancedSampler')
    runner = make_runner(tmp_path, sampler, 1, True, [dict(type='lt_mm.DeferredHook', begin=1)])
    runner.logger.addHandler(caplog.handler)
    runner.logger.setLevel('WARNING')
    runner.train()
    assert 'changes nothing, because no module of Model has set_deferred and' in caplog.text


@pytest.mark.parametrize('begin', [1, 2, 5])
def test_a_deferred_part_behind_the_end_is_told_at_the_start(tmp_path, caplog, begin):
    runner = make_runner(
        tmp_path, SAMPLERS['balanced'], 2, True, [dict(type='lt_mm.DeferredHook', begin=begin)]
    )
    runner.logger.addHandler(caplog.handler)
    runner.logger.setLevel('WARNING')
    runner.train()
    assert ('the deferred part never comes; give a smaller' in caplog.text) == (begin >= 2)


def test_another_sampler_is_told_as_well(tmp_path):
    @DATA_SAMPLERS.register_module(force=True)
    class Told(torch.utils.data.Sampler):
        def __init__(self, dataset, seed=None):
            self.calls = []

        def set_deferred(self, active):
            self.calls.append(active)

        def __iter__(self):
            return iter(range(4))

        def __len__(self):
            return 4

    hooks = [dict(type='lt_mm.DeferredHook', begin=1)]
    runner = train(tmp_path, dict(type='lt_mm.Told'), 3, True, hooks)
    assert runner.train_dataloader.sampler.calls == [False, True, True]
