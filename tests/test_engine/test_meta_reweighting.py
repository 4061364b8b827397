"""MetaReweighting in a Runner: against the double backward, DRW, resumed and on two ranks."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from mmseg.models import EncoderDecoder
from PIL import Image
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from lt_mm.engine.development_set import DevelopmentSet
from lt_mm.engine.hooks import ClassCountsHook, MetaReweighting, RandomStateHook
from lt_mm.functional import effective_number_weights
from lt_mm.registry import DATASETS, HOOKS

COUNTS = (12, 6, 2)
CLASSES = ('often', 'at times', 'seldom')
RATE = 0.1


@DATASETS.register_module(force=True)
class MetaImages(BaseDataset):
    """Random images with one label, and noise that is drawn when they are read."""

    def __init__(self, counts=COUNTS, classes=CLASSES, noise=0.1):
        self.labels, self.noise = np.repeat(np.arange(len(counts)), counts), noise
        super().__init__(metainfo=dict(classes=classes))

    def load_data_list(self):
        return [dict(gt_label=int(label)) for label in self.labels]

    def prepare_data(self, idx):
        label = self.get_data_info(idx)['gt_label']
        number = self.get_data_info(idx)['sample_idx']
        image = np.random.default_rng(number).normal(size=(2, 6, 6)) + label
        image += self.noise * np.random.normal(size=image.shape)
        sample = DataSample().set_gt_label(label)
        return dict(inputs=torch.from_numpy(image).float(), data_samples=sample)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x):
        return (torch.tanh(self.norm(self.conv(x))),)


def classifier(loss=None):
    torch.manual_seed(0)
    loss = loss or dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)
    return ImageClassifier(
        backbone=Backbone(),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=5, loss=loss),
    )


class Seen(Hook):
    """What each step had: weights of the loss, and states of the model and batches before it."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.weights, self.states, self.batches, self.development = [], [], [], []

    def before_train(self, runner):
        def keep(loss, args, kwargs):
            if torch.is_grad_enabled() and kwargs.get('reduction_override') is None:
                self.weights.append(kwargs['weight'].detach().clone())

        head = getattr(runner.model, 'module', runner.model)
        head = getattr(head, 'head', None) or head.decode_head
        loss = getattr(head, 'loss_module', None) or head.loss_decode
        # Behind the hook that weighs, which is there already if that ran before.
        loss.register_forward_pre_hook(keep, with_kwargs=True)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.states.append(copy.deepcopy(runner.model.state_dict()))
        self.batches.append(copy.deepcopy(data_batch))


def run(folder, hooks, model=None, dataset=None, iters=3, seed=0, resume=False, log=None, **kwargs):
    loader = dict(
        dataset=dataset or dict(type='lt_mm.MetaImages'),
        batch_size=8,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
    )
    settings = dict(
        model=model or classifier(),
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=iters, val_interval=100),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=RATE, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
        custom_hooks=[ClassCountsHook(), RandomStateHook(), *hooks],
        randomness=dict(seed=seed),
        experiment_name=f'{Path(folder).name}_{id(hooks)}',
        log_level='ERROR',
        resume=resume,
        default_scope='mmpretrain',
    )
    settings.update(kwargs)
    wrapper = settings.pop('model_wrapper_cfg', None)
    settings['cfg'] = dict(train_dataloader=settings['train_dataloader'], model_wrapper_cfg=wrapper)
    runner = Runner(**settings)
    if log is not None:
        runner.logger.addHandler(log)
    runner.train()
    return runner


def state(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture
def recorded(monkeypatch):
    """The batches of the development set."""
    batches, original = [], DevelopmentSet.next_batch

    def next_batch(self):
        context = original(self)
        enter = context.__enter__

        class Recording:
            def __enter__(self):
                batches.append(copy.deepcopy(batch := enter()))
                return batch

            def __exit__(self, *args):
                return context.__exit__(*args)

        return Recording()

    monkeypatch.setattr(DevelopmentSet, 'next_batch', next_batch)
    return batches


def as_it_was(model, state):
    """The model with an earlier state, without its class counts, in float64."""
    state = {name: value for name, value in state.items() if 'class_counts' not in name}
    model.load_state_dict(state, strict=False)
    return model.double().train()


def double_backward(state, batch, development, rate, virtual, names=None):
    """Scores of the samples from the gradient of their weights through a step, in float64."""
    model = as_it_was(classifier(), state)
    parameters = {n: p.detach().requires_grad_() for n, p in model.named_parameters()}

    def losses(parameters, batch):
        buffers = {n: b.clone() for n, b in model.named_buffers()}
        x = torch.stack(batch['inputs']).double()
        y = torch.cat([sample.gt_label for sample in batch['data_samples']])
        logits = functional_call(model, {**parameters, **buffers}, (x,), dict(mode='tensor'))
        return F.cross_entropy(logits, y, reduction='none')

    own = losses(parameters, batch)
    y = torch.cat([sample.gt_label for sample in batch['data_samples']])
    eps = torch.zeros(len(y), dtype=torch.float64, requires_grad=True)
    base = effective_number_weights(list(COUNTS), 0.9999).double()[y]
    # Without the virtual step v is taken where the parameters are.
    step = ((base if virtual else 0) + eps) * own
    names = names or list(parameters)
    chosen = [parameters[n] for n in names]
    gradients = torch.autograd.grad(step.mean(), chosen, create_graph=True)
    moved = {n: parameters[n] - rate * g for n, g in zip(names, gradients, strict=True)}
    loss = losses({**parameters, **moved}, development).mean()
    (gradient,) = torch.autograd.grad(loss, eps)
    return -gradient * len(y) / rate


@pytest.mark.parametrize('virtual', [False, True])
@pytest.mark.parametrize('engine', ['jvp', 'finite_difference', 'last_layer'])
def test_weights_equal_those_of_the_double_backward(tmp_path, recorded, engine, virtual):
    seen = Seen()
    meta = MetaReweighting(engine=engine, virtual_step=virtual, momentum=0.0, strength=0.5)
    run(tmp_path, [meta, seen])
    assert len(seen.weights) == len(recorded) == 3
    for weights, before, batch, development in zip(
        seen.weights, seen.states, seen.batches, recorded, strict=True
    ):
        names = ['head.fc.weight', 'head.fc.bias'] if engine == 'last_layer' else None
        s = double_backward(before, batch, development, RATE, virtual, names)
        y = torch.cat([sample.gt_label for sample in batch['data_samples']])
        base = effective_number_weights(list(COUNTS), 0.9999).double()[y]
        eps = 0.5 * base * (s / s.square().mean().sqrt()).clamp(-1, 1)
        expected = torch.maximum(base + eps, 0.1 * base)
        tolerance = 2e-2 if engine == 'finite_difference' else 1e-4
        torch.testing.assert_close(weights.double(), expected, rtol=tolerance, atol=tolerance)
        assert expected.std() > 0.05


def test_the_step_of_the_paper(tmp_path, recorded):
    seen = Seen()
    run(tmp_path, [MetaReweighting(step='gradient', strength=0.01, engine='jvp', floor=None), seen])
    batch = seen.batches[0]
    s = double_backward(seen.states[0], batch, recorded[0], RATE, False)
    y = torch.cat([sample.gt_label for sample in batch['data_samples']])
    base = effective_number_weights(list(COUNTS), 0.9999).double()[y]
    expected = base + 0.01 * RATE * s
    torch.testing.assert_close(seen.weights[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_l2rw(tmp_path, recorded):
    seen = Seen()
    run(tmp_path, [MetaReweighting(mode='l2rw', engine='jvp'), seen])
    s = double_backward(seen.states[0], seen.batches[0], recorded[0], RATE, False)
    expected = len(s) * s.clamp(min=0) / s.clamp(min=0).sum()
    torch.testing.assert_close(seen.weights[0].double(), expected, rtol=1e-3, atol=1e-3)


def test_without_strength_it_is_deferred_reweighting_bit_for_bit(tmp_path):
    weight = dict(type='effective_number', beta=0.9999)
    begin = dict(type='lt_mm.DeferredHook', begin=2, by_epoch=False)
    drw = dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=weight)
    plain = run(tmp_path / 'drw', [begin], model=classifier(drw), iters=5)
    meta = MetaReweighting(class_weight=weight, strength=0.0)
    assert_same(
        {
            n: v
            for n, v in state(run(tmp_path / 'meta', [begin, meta], iters=5)).items()
            if 'loss' not in n
        },
        {n: v for n, v in state(plain).items() if 'loss' not in n},
    )


def test_the_strength_counts_and_other_elements_may_have_it(tmp_path):
    first = state(run(tmp_path / '0', [MetaReweighting(strength=0.0)], iters=5))
    for i, kwargs in enumerate((dict(), dict(permuted=True))):
        other = state(run(tmp_path / f'{i}1', [MetaReweighting(strength=0.9, **kwargs)], iters=5))
        assert not torch.equal(first['head.fc.weight'], other['head.fc.weight'])


CASES = {
    'two components': dict(),
    'virtual step and workers': dict(virtual_step=True, num_workers=2, engine='finite_difference'),
    'weight network': dict(mode='cmw_net'),
}


@pytest.mark.parametrize('name', CASES)
def test_a_resumed_run_equals_one_left_alone(tmp_path, name):
    alone = run(tmp_path / 'alone', [MetaReweighting(**CASES[name])], iters=5)
    run(tmp_path / 'cut', [MetaReweighting(**CASES[name])], iters=2)
    resumed = run(tmp_path / 'cut', [MetaReweighting(**CASES[name])], iters=5, resume=True)
    assert_same(state(alone), state(resumed))


def test_another_mode_does_not_go_on(tmp_path):
    run(tmp_path, [MetaReweighting()], iters=2)
    with pytest.raises(ValueError, match="mode='two_component', and the config now has 'l2rw'"):
        run(tmp_path, [MetaReweighting(mode='l2rw')], iters=4, resume=True)


def surrogate_of_double_backward(net, kinds, own, scores):
    """Gradient of the development loss of the network whose weights have the mean 1."""
    with torch.enable_grad():
        weights = net(own, kinds)
        weights = weights / weights.mean()
        return torch.autograd.grad((-RATE / len(own) * scores * weights).sum(), net.parameters())


def test_the_weight_network_follows_the_double_backward(tmp_path, recorded, monkeypatch):
    found = {}

    def step(self, units, losses, scores, number):
        network = copy.deepcopy(self._network)
        kinds = self._kinds[units.classes]
        found.setdefault('expected', surrogate_of_double_backward(network, kinds, losses, scores))
        weights = original(self, units, losses, scores, number)
        found.setdefault('own', [p.grad.clone() for p in self._network.parameters()])
        return weights

    original = MetaReweighting._learn
    monkeypatch.setattr(MetaReweighting, '_learn', step)
    seen = Seen()
    run(tmp_path, [MetaReweighting(mode='mw_net', engine='jvp'), seen], iters=1)
    for own, expected in zip(found['own'], found['expected'], strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-8)
    assert seen.weights[0].mean() == pytest.approx(1, abs=1e-5)
    assert seen.weights[0].std() > 0


# Segmentation.


class Strided(Backbone):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x):
        return (F.avg_pool2d(super().forward(x)[0], 2),)


def segmentor(dropout=0.1, loss=None):
    torch.manual_seed(0)
    model = EncoderDecoder(
        backbone=dict(type='mmseg.ResNet', depth=18),
        decode_head=dict(
            type='mmseg.FCNHead', in_channels=5, channels=4, in_index=0, num_convs=1, num_classes=3,
            norm_cfg=dict(type='BN'), act_cfg=dict(type='Tanh'), align_corners=False,
            concat_input=False, dropout_ratio=dropout,
            loss_decode=loss or dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
        ),
        data_preprocessor=dict(
            type='mmseg.SegDataPreProcessor', size=(16, 16), seg_pad_val=255,
            mean=[127.5] * 3, std=[60.0] * 3,
        ),
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip
    model.backbone = Strided()
    return model


@pytest.fixture
def maps(tmp_path):
    """Six maps of stripes, with a few pixels to ignore; class 2 is in one of them."""
    labels = np.zeros((6, 16, 16), np.uint8)
    labels[:, :, 10:] = 1
    labels[0, 12:, :4] = 2
    labels[:, 0, :3] = 255
    for part in ('img', 'ann'):
        (tmp_path / 'data' / part).mkdir(parents=True)
    for i, one in enumerate(labels):
        noise = np.random.default_rng(i).integers(0, 150, (16, 16, 3))
        image = (noise + 50 * np.minimum(one, 2)[..., None]).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / 'data' / 'img' / f'{i}.png')
        Image.fromarray(one).save(tmp_path / 'data' / 'ann' / f'{i}.png')
    return dict(
        type='BaseSegDataset',
        data_root=str(tmp_path / 'data'),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        img_suffix='.png',
        metainfo=dict(classes=CLASSES),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    )


def run_maps(folder, hooks, maps, model=None, **kwargs):
    model = model or segmentor()
    return run(folder, hooks, model=model, dataset=maps, default_scope='mmseg', **kwargs)


def labels_of(batch):
    return torch.stack([sample.gt_sem_seg.data[0] for sample in batch['data_samples']])


@pytest.mark.parametrize('engine', ['last_layer', 'jvp', 'finite_difference'])
def test_pixels_by_class(tmp_path, maps, recorded, engine):
    seen = Seen()
    layers = None if engine == 'last_layer' else ('decode_head.conv_seg',)
    meta = MetaReweighting(engine=engine, layers=layers, momentum=0.0, class_weight=[1.0, 2.0, 3.0])
    run_maps(tmp_path / 'run', [meta, seen], maps, model=segmentor(dropout=0.0), iters=1)
    batch, development = seen.batches[0], recorded[0]
    model = as_it_was(segmentor(dropout=0.0), seen.states[0])
    weight = model.decode_head.conv_seg.weight

    def losses(batch):
        data = model.data_preprocessor(copy.deepcopy(batch), training=True)
        features = model.extract_feat(data['inputs'].double())
        logits = model.decode_head(features)
        logits = F.interpolate(logits, (16, 16), mode='bilinear', align_corners=False)
        target = labels_of(batch)
        return F.cross_entropy(logits, target, reduction='none', ignore_index=255), target

    own, target = losses(development)
    (v_weight, v_bias) = torch.autograd.grad(
        sum(own[target == c].mean() for c in target[target != 255].unique())
        / len(target[target != 255].unique()),
        [weight, model.decode_head.conv_seg.bias],
    )
    own, target = losses(batch)
    scores = torch.zeros(3, dtype=torch.float64)
    for c in target[target != 255].unique():
        gradients = torch.autograd.grad(
            own[target == c].mean(),
            [weight, model.decode_head.conv_seg.bias],
            retain_graph=True,
        )
        scores[c] = (gradients[0] * v_weight).sum() + (gradients[1] * v_bias).sum()
    met = [c for c in range(3) if (target == c).any()]
    rms = scores[met].square().mean().sqrt()
    factor = 1 + 0.5 * (scores / rms).clamp(-1, 1)
    expected = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) * factor
    for c in met:
        weights = seen.weights[0][target == c]
        assert (weights == weights[0]).all()
        tolerance = 1e-2 if engine == 'finite_difference' else 1e-3
        assert weights[0].item() == pytest.approx(expected[c].item(), rel=tolerance)
    assert len(met) > 1


@pytest.mark.parametrize('level', ['image', 'pixel'])
@pytest.mark.parametrize('mode', ['two_component', 'l2rw', 'mw_net'])
def test_images_and_blocks_of_pixels(tmp_path, maps, level, mode):
    seen = Seen()
    meta = MetaReweighting(mode=mode, level=level, class_weight=[1.0, 1.0, 1.0])
    run_maps(tmp_path / 'run', [meta, seen], maps, iters=2)
    valid = labels_of(seen.batches[1]) != 255
    weights = torch.where(valid, seen.weights[1], torch.nan)
    side = 16 if level == 'image' else 8
    for image in weights:
        for block in image.unfold(0, side, side).unfold(1, side, side).flatten(0, 1):
            values = block[~block.isnan()]
            assert (values == values[0]).all()
    assert weights[valid].unique().numel() > 2


def test_what_ignores_every_pixel_changes_nothing(tmp_path, maps):
    for path in (tmp_path / 'data' / 'ann').iterdir():
        if path.name != '0.png':
            Image.fromarray(np.full((16, 16), 255, np.uint8)).save(path)
    runner = run_maps(tmp_path / 'run', [MetaReweighting(momentum=0.5)], maps, iters=4)
    assert all(
        value.isfinite().all() for value in state(runner).values() if value.is_floating_point()
    )


@pytest.mark.parametrize('level', [None, 'image'])
def test_statistics_are_touched_once_a_step(tmp_path, maps, level):
    meta = MetaReweighting(engine='finite_difference', level=level, virtual_step=True)
    runner = run_maps(tmp_path / 'run', [meta], maps, iters=3)
    assert runner.model.backbone.norm.num_batches_tracked == 3


# Several processes.


def rank_run(rank, folder, kwargs):
    os.environ['LOCAL_RANK'] = str(rank)
    meta, seen = MetaReweighting(**kwargs), Seen()
    model = classifier()
    # Statistics of a batch would be those of a share of it.
    model.backbone.norm = nn.Identity()
    world = get_world_size()
    runner = run(
        Path(folder) / f'{world}',
        [meta, seen],
        model=model,
        iters=3,
        launcher='none' if world == 1 else 'pytorch',
        train_dataloader=dict(
            # Noise is drawn by each rank anew.
            dataset=dict(type='lt_mm.MetaImages', noise=0),
            batch_size=8 // world,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            collate_fn=dict(type='pseudo_collate'),
        ),
        model_wrapper_cfg=dict(type='lt_mm.CPUDistributedDataParallel'),
    )
    states = getattr(runner.model, 'module', runner.model).state_dict()
    return {name: value.clone() for name, value in states.items()}, seen.weights


KINDS = {
    'two components': dict(engine='jvp'),
    'last layer, virtual step': dict(virtual_step=True),
    'positive scores': dict(mode='l2rw', engine='jvp'),
    'weight network': dict(mode='cmw_net'),
}


@pytest.mark.parametrize('name', KINDS)
def test_two_ranks_take_the_step_of_one(tmp_path, two_ranks, name, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    one = rank_run(0, str(tmp_path / 'a'), KINDS[name])
    (first, own), (second, other) = two_ranks(rank_run, str(tmp_path / 'a'), KINDS[name])
    for key, value in one[0].items():
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(first[key], second[key]), key
    for whole, left, right in zip(one[1], own, other, strict=True):
        # Ranks take turns.
        both = torch.stack([left, right], dim=1).flatten()
        torch.testing.assert_close(both, whole, rtol=1e-3, atol=1e-4)


# What is refused.


@pytest.mark.parametrize(
    ('kwargs', 'told'),
    [
        (dict(mode='meta'), "mode of MetaReweighting is 'meta'; use 'two_component' or"),
        (dict(engine='exact'), "engine of MetaReweighting is 'exact'"),
        (dict(level='row'), "level of MetaReweighting is 'row'"),
        (dict(step='big'), "step of MetaReweighting is 'big'"),
        (dict(strength=1.0), 'strength of MetaReweighting is 1.0'),
        (dict(strength=-0.1), 'strength of MetaReweighting is -0.1'),
        (dict(floor=2), 'floor of MetaReweighting is 2'),
        (dict(momentum=1.0), 'momentum of MetaReweighting is 1.0'),
        (dict(layers=['head']), "engine='last_layer' takes the classifier alone"),
        (dict(mode='l2rw', virtual_step=True), 'virtual_step of MetaReweighting does nothing'),
        (dict(mode='cmw_net', level='image'), "level='image' of MetaReweighting mixes classes"),
        (dict(class_weight=dict(type='x')), 'class_weight of MetaReweighting'),
    ],
)
def test_bad_arguments(kwargs, told):
    with pytest.raises(ValueError, match=told):
        HOOKS.build(dict(type='MetaReweighting', **kwargs))


@pytest.mark.parametrize(
    ('kwargs', 'told'),
    [
        (dict(source='test'), "source of MetaReweighting is 'test'"),
        (dict(source='held_out'), 'nothing is held out of the training set'),
        (dict(source=dict(type='lt_mm.MetaImages', counts=(5, 3, 0))), "no sample of 1 .*'seldom'"),
        (
            dict(source=dict(type='lt_mm.MetaImages', counts=(2, 2), classes=('cat', 'dog'))),
            "2 in place of 3, among them 'cat'",
        ),
        (
            dict(engine='jvp', layers=('decode_head',)),
            r"nothing that is trained in \('decode_head',\)",
        ),
        (dict(level='class'), "level of MetaReweighting is 'class', but labels have the shape"),
    ],
)
def test_what_does_not_fit_is_told_at_the_start(tmp_path, kwargs, told):
    with pytest.raises(ValueError, match=told):
        run(tmp_path, [MetaReweighting(**kwargs)])


def test_losses_that_cannot_be_weighed(tmp_path):
    weighted = dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match='has class weights, and MetaReweighting would weigh'):
        run(tmp_path, [MetaReweighting()], model=classifier(weighted))


def test_a_loss_of_adjusted_logits_needs_no_other_engine(tmp_path):
    adjusted = dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0)
    run(tmp_path, [MetaReweighting()], model=classifier(adjusted))


def test_a_cosine_classifier_needs_another_engine(tmp_path):
    model = classifier()
    torch.manual_seed(0)
    head = dict(type='lt_mm.CosineClsHead', num_classes=3, in_channels=5)
    cosine = ImageClassifier(
        backbone=Backbone(), neck=dict(type='GlobalAveragePooling'),
        head={**head, 'loss': dict(type='lt_mm.LDAMLoss')},
    )  # fmt: skip
    with pytest.raises(TypeError, match="use engine='finite_difference'"):
        run(tmp_path / '0', [MetaReweighting()], model=cosine)
    run(tmp_path / '1', [MetaReweighting(engine='jvp')], model=cosine)
    assert model is not cosine


@pytest.mark.parametrize('engine', ['last_layer', 'jvp'])
def test_scores_that_are_not_finite_leave_the_class_weights(tmp_path, monkeypatch, engine):
    original = MetaReweighting._development_loss
    monkeypatch.setattr(
        MetaReweighting, '_development_loss', lambda *args: original(*args) * torch.nan
    )
    seen, meta = Seen(), MetaReweighting(class_weight=[1.0, 2.0, 3.0], engine=engine)
    run(tmp_path, [meta, seen])
    y = torch.cat([sample.gt_label for sample in seen.batches[0]['data_samples']])
    assert torch.equal(seen.weights[0], torch.tensor([1.0, 2.0, 3.0])[y])
    assert meta._not_finite == 3


def test_what_was_held_out_is_in_the_checkpoint(tmp_path):
    whole = dict(type='lt_mm.MetaImages')
    part = dict(type='lt_mm.PartOfDataset', part='training', per_class=1, dataset=whole)
    runner = run(tmp_path, [MetaReweighting(source='held_out')], dataset=part, iters=2)
    assert len(runner.train_dataloader.dataset) == sum(COUNTS) - 3
    checkpoint = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    cut = checkpoint['meta_reweighting']['held_out_by']
    assert (cut['per_class'], cut['seed']) == (1, 0)
    part['seed'] = 1
    with pytest.raises(ValueError, match='held_out_by'):
        run(tmp_path, [MetaReweighting(source='held_out')], dataset=part, iters=4, resume=True)


def test_the_log_and_the_picture(tmp_path):
    runner = run(
        tmp_path,
        [MetaReweighting(picture_interval=2)],
        iters=2,
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2)),
        visualizer=dict(
            type='Visualizer', name=str(tmp_path), vis_backends=[dict(type='LocalVisBackend')]
        ),
    )
    shown = runner.message_hub.log_scalars
    assert {'train/meta_direction_norm', 'train/meta_share_clipped'} <= shown.keys()
    assert any(name.startswith('train/meta_relative_') for name in shown)
    (picture,) = tmp_path.glob('*/vis_data/vis_image/meta_weights_2.png')
    assert Image.open(picture).size[0] > 300


def test_a_balanced_sampler_and_class_weights_are_warned_of(tmp_path, caplog):
    loader = dict(
        dataset=dict(type='lt_mm.MetaImages'),
        batch_size=8,
        num_workers=0,
        sampler=dict(type='lt_mm.ClassBalancedSampler', infinite=True),
        collate_fn=dict(type='pseudo_collate'),
    )
    for mode, warned in (('two_component', True), ('l2rw', False)):
        caplog.clear()
        settings = dict(train_dataloader=loader, log_level='WARNING', log=caplog.handler)
        run(tmp_path / mode, [MetaReweighting(mode=mode)], iters=1, **settings)
        assert ('Class weights of MetaReweighting stand behind' in caplog.text) is warned
