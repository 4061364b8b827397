"""ClassMeansHook: class means restated naively, under a Runner, and by two processes."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS

from lt_mm.engine.hooks import ClassMeansHook

MODEL = dict(
    type='ImageClassifier',
    backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='lt_mm.LongTailClsHead',
        num_classes=10,
        in_channels=64,
        classifier=dict(type='lt_mm.NearestClassMeanLinear'),
    ),
)
PIPELINE = [dict(type='Resize', scale=8), dict(type='PackInputs')]
RANDOM = [dict(type='RandomCrop', crop_size=8, padding=4), dict(type='PackInputs')]


def loader(split, pipeline=PIPELINE, shuffle=False):
    dataset = dict(type='lt_mm.DigitsLT', split=split, imbalance_factor=50, pipeline=pipeline)
    return dict(
        batch_size=64,
        num_workers=0,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
    )


def make_runner(folder, features='cl2n', metric='l2', hook=(), **changes):
    cfg = dict(
        default_scope='mmpretrain',
        model=copy.deepcopy(MODEL),
        train_dataloader=loader('train', [*PIPELINE[:1], *RANDOM], shuffle=True),
        val_dataloader=loader('tuning'),
        val_cfg=dict(),
        val_evaluator=dict(type='Accuracy'),
        test_dataloader=loader('test'),
        test_cfg=dict(),
        test_evaluator=dict(type='Accuracy'),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='lt_mm.ClassMeansHook', **dict(hook))],
        randomness=dict(seed=0),
        work_dir=str(folder / 'run'),
        log_level='WARNING',
    )
    cfg.update(changes)
    cfg['model']['head']['classifier'].update(features=features, metric=metric)
    return Runner.from_cfg(Config(cfg))


def naive(model, features, count=None):
    """Class means and centre in numpy, over the whole training set at once."""
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(loader('train')['dataset'])
    items = [dataset[i] for i in range(count or len(dataset))]
    inputs = torch.stack([item['inputs'] for item in items]).float()
    labels = np.array([int(item['data_samples'].gt_label) for item in items])
    with torch.no_grad():
        rows = model.eval().extract_feat(inputs, stage='pre_logits').double().numpy()
    centre = rows.mean(0)
    if features == 'cl2n':
        rows = rows - centre
    if features != 'un':
        rows = rows / np.sqrt((rows**2).sum(1, keepdims=True))
    means = np.stack([rows[labels == c].mean(0) for c in range(10)])
    return torch.tensor(means).float(), torch.tensor(centre).float(), np.bincount(labels)


@pytest.mark.parametrize('features', ['un', 'l2n', 'cl2n'])
def test_means_and_predictions_of_a_test(tmp_path, features):
    runner = make_runner(tmp_path, features, 'dot' if features == 'un' else 'l2')
    runner.test()
    layer = runner.model.head.fc
    means, centre, counts = naive(runner.model, features)
    assert layer.counts.tolist() == counts.tolist()
    torch.testing.assert_close(layer.means, means, rtol=1e-4, atol=1e-5)
    if features == 'cl2n':
        torch.testing.assert_close(layer.centre, centre, rtol=1e-4, atol=1e-5)
    images = torch.randn(4, 3, 8, 8)
    rows = runner.model.extract_feat(images, stage='pre_logits')
    rows = rows - centre if features == 'cl2n' else rows
    rows = rows if features == 'un' else rows / rows.norm(dim=1, keepdim=True)
    expected = rows @ means.T / 64 if features == 'un' else -(rows[:, None] - means).square().sum(2)
    torch.testing.assert_close(runner.model(images), expected, rtol=1e-3, atol=1e-4)


def test_every_validation_sees_means_of_the_weights_it_has(tmp_path):
    seen = []

    class Compare(Hook):
        def before_val_epoch(self, runner):
            # The evaluation mode is the loop's to set.
            assert runner.model.training

        def before_val_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 0:
                means, _, _ = naive(runner.model, 'l2n')
                torch.testing.assert_close(runner.model.head.fc.means, means, rtol=1e-4, atol=1e-5)
                seen.append(means)

    runner = make_runner(
        tmp_path,
        'l2n',
        train_cfg=dict(by_epoch=True, max_epochs=2),
        custom_hooks=[
            dict(type='lt_mm.ClassMeansHook'),
            dict(type='EMAHook', momentum=0.5),
        ],
    )
    runner.register_hook(Compare(), priority='LOWEST')
    runner.train()
    assert len(seen) == 2 and not torch.equal(*seen)


class SaveByHand(Hook):
    """After the first iteration of the second epoch, whatever CheckpointHook does."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == 1 and batch_idx == 0:
            runner.save_checkpoint(runner.work_dir, 'by_hand.pth')


EMA = dict(type='EMAHook', momentum=0.5)
AVERAGED = {
    'no average': [],
    'average': [EMA],
    'average with buffers': [dict(EMA, update_buffers=True)],
    'average that is not validated': [dict(EMA, type='mmpretrain.EMAHook', evaluate_on_ema=False)],
}


@pytest.mark.filterwarnings('ignore:Automatically set `evaluate_on_origin')
@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('averaged', AVERAGED)
def test_checkpoints_hold_means_of_the_weights_in_them(tmp_path, monkeypatch, averaged, by_epoch):
    computed = []
    runner = make_runner(
        tmp_path,
        'l2n',
        # The one validation comes after the last checkpoint, if at all.
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=2),
        custom_hooks=[*copy.deepcopy(AVERAGED[averaged]), dict(type='lt_mm.ClassMeansHook')],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1 if by_epoch else 3, by_epoch=by_epoch,
                save_best='accuracy/top1', rule='greater', save_last=False,
            )
        ),
    )  # fmt: skip
    runner.register_hook(SaveByHand())
    update = ClassMeansHook._update
    monkeypatch.setattr(
        ClassMeansHook, '_update', lambda *args: computed.append(runner.iter) or update(*args)
    )
    runner.train()
    # A validation and a checkpoint of one set of weights share a computation.
    separate = averaged == 'average that is not validated'
    assert len(computed) == len(set(computed)) + separate * by_epoch
    files = sorted((tmp_path / 'run').glob('*.pth'))
    assert len(files) >= 4
    for file in files:
        weights = torch.load(file, weights_only=False)['state_dict']
        # Those that a best figure makes mmengine save are saved after a validation.
        none = file.stem == 'by_hand' or (file.stem.endswith('iter_10') and separate)
        assert weights['head.fc.counts'].any() != none
        if none:
            continue
        model = MODELS.build(copy.deepcopy(runner.cfg.model))
        model.load_state_dict(weights)
        means, _, counts = naive(model, 'l2n')
        assert weights['head.fc.counts'].tolist() == counts.tolist()
        torch.testing.assert_close(weights['head.fc.means'], means, rtol=1e-4, atol=1e-5)


def test_the_hook_changes_no_weights(tmp_path, forget_mmengine):
    weights = []
    for hooks in ([], [dict(type='lt_mm.ClassMeansHook')]):
        forget_mmengine()
        runner = make_runner(
            tmp_path,
            custom_hooks=hooks,
            train_cfg=dict(by_epoch=True, max_epochs=2),
            **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        )
        runner.train()
        weights.append(dict(runner.model.named_parameters()))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_data_loader_of_ones_own(tmp_path):
    own = loader('train')
    own['dataset']['indices'] = 60
    runner = make_runner(tmp_path, 'l2n', hook=dict(dataloader=own))
    runner.test()
    assert runner.model.head.fc.counts.sum() == 60


def test_progress_is_shown(tmp_path, capsys):
    make_runner(tmp_path).test()
    shown = capsys.readouterr().out
    assert 'mean feature of the training set' in shown and 'class means of the' in shown


class FakeRunner:
    """As much of a Runner as the hook looks at."""

    seed = 0

    def __init__(self, model):
        self.model = model
        # An odd number of images, which the ranks cannot share equally.
        training = loader('train')
        training['dataset']['indices'] = 151
        self.cfg = Config(dict(train_dataloader=training, test_dataloader=loader('test')))


def means_of_all(rank=0):
    init_default_scope('mmpretrain')
    found = {}
    for features in ('un', 'l2n', 'cl2n'):
        cfg = copy.deepcopy(MODEL)
        cfg['head']['classifier']['features'] = features
        torch.manual_seed(0)
        runner = FakeRunner(MODELS.build(cfg))
        ClassMeansHook().before_test_epoch(runner)
        layer = runner.model.head.fc
        found[features] = (layer.means, layer.counts, layer.centre)
    return found


def test_means_are_of_what_each_classifier_is_given():
    """Behind a normalisation in the head, and in several experts."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    levit = dict(MODEL['head'], base='LeViTClsHead')
    experts = dict(
        type='lt_mm.MultiExpertClsHead', num_classes=10, in_channels=64,
        experts=[MODEL['head']] * 2,
    )  # fmt: skip
    several = dict(
        backbone=dict(
            type='lt_mm.MultiExpertResNet', num_experts=2, width_factor=1.0,
            backbone=MODEL['backbone'],
        ),
        neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
    )  # fmt: skip
    for changes, paths in (
        (dict(head=levit), ['head.head.linear']),
        (dict(several, head=experts), ['head.experts.0.fc', 'head.experts.1.fc']),
    ):
        model = MODELS.build(copy.deepcopy(MODEL | changes))
        for part in model.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                torch.nn.init.normal_(part.running_mean, std=0.1)
        ClassMeansHook().before_test_epoch(FakeRunner(model))
        given = {path: [] for path in paths}
        for path in paths:
            model.get_submodule(path).register_forward_pre_hook(
                lambda layer, inputs, rows=given[path]: rows.append(inputs[0])
            )
        dataset = DATASETS.build(dict(loader('train')['dataset'], indices=151))
        items = [dataset[index] for index in range(len(dataset))]
        labels = torch.tensor([int(item['data_samples'].gt_label) for item in items])
        with torch.no_grad():
            model.eval()(torch.stack([item['inputs'] for item in items]).float())
        for path in paths:
            layer, rows = model.get_submodule(path), given[path][0]
            torch.testing.assert_close(layer.centre, rows.mean(0), rtol=1e-4, atol=1e-5)
            rows = torch.nn.functional.normalize(rows - rows.mean(0))
            for c in labels.unique().tolist():
                mean = rows[labels == c].mean(0)
                torch.testing.assert_close(layer.means[c], mean, rtol=1e-4, atol=1e-5)


def test_two_ranks_equal_one(two_ranks):
    expected = means_of_all()
    ranks = two_ranks(means_of_all)
    for features, (means, counts, centre) in expected.items():
        assert counts.sum() == 151
        for rank in ranks:
            assert torch.equal(rank[features][1], counts)
            # Batches are of other images, so features may differ in the last bit.
            torch.testing.assert_close(rank[features][0], means, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(rank[features][2], centre, rtol=1e-5, atol=1e-7)
        assert torch.equal(ranks[0][features][0], ranks[1][features][0])


def test_bad_input(tmp_path, forget_mmengine):
    linear = make_runner(tmp_path)
    linear.model.head.fc = torch.nn.Linear(64, 10)
    with pytest.raises(ValueError, match='finds nothing with set_class_means in ImageClassifier'):
        linear.test()
    forget_mmengine()
    wrapped = loader('train')
    wrapped['dataset'] = dict(type='RepeatDataset', times=2, dataset=wrapped['dataset'])
    with pytest.raises(ValueError, match='has no dataset with a pipeline; give it dataloader='):
        make_runner(tmp_path, train_dataloader=wrapped).test()
