"""The configs of MiSLAS say what its tables say, and the right parts of their models learn."""

import re
from math import ceil

import numpy as np
import pytest
import torch
from config_files import FILES, earlier, load, path_of, stages_of, with_variants
from mmcv.transforms import Compose
from mmengine.config import ConfigDict
from mmengine.dataset import default_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

CLASSES = {'cifar10': 10, 'cifar100': 100, 'imagenet': 1000, 'inaturalist2018': 8142, 'places': 365}

# Table 6 of the supplement: weight decay, batch, epochs of both stages, smoothing of head and tail,
# Delta W. The learning rate is 0.1 everywhere.
TABLE_6 = {
    'cifar_lt/mislas_r32_cifar10-lt_10e@if10': (2e-4, 128, 200, 10, 0.1, 0.0, 0.2),
    'cifar_lt/mislas_r32_cifar10-lt_10e@if50': (2e-4, 128, 200, 10, 0.2, 0.0, 0.2),
    'cifar_lt/mislas_r32_cifar10-lt_10e': (2e-4, 128, 200, 10, 0.3, 0.0, 0.5),
    'cifar_lt/mislas_r32_cifar100-lt_10e@if10': (2e-4, 128, 200, 10, 0.2, 0.0, 0.1),
    'cifar_lt/mislas_r32_cifar100-lt_10e@if50': (2e-4, 128, 200, 10, 0.3, 0.0, 0.1),
    'cifar_lt/mislas_r32_cifar100-lt_10e': (2e-4, 128, 200, 10, 0.4, 0.1, 0.2),
    'imagenet_lt/mislas_r50_imagenet-lt_10e': (5e-4, 256, 180, 10, 0.3, 0.0, 0.05),
    'places_lt/mislas_r152_places-lt_10e': (5e-4, 256, 90, 10, 0.4, 0.1, 0.05),
    'inaturalist2018/mislas_r50_inaturalist2018_30e': (1e-4, 256, 200, 30, 0.4, 0.0, 0.05),
}
METHODS = ('crt', 'lws', 'crt-mixup', 'lws-mixup', 'mislas')
TABLES_7_TO_9 = [
    name.format(method)
    for method in METHODS
    for name in (
        'imagenet_lt/{}_r50_imagenet-lt_10e',
        'imagenet_lt/{}_r50_imagenet-lt_10e@r101',
        'imagenet_lt/{}_r50_imagenet-lt_10e@r152',
        'inaturalist2018/{}_r50_inaturalist2018_30e',
        'places_lt/{}_r152_places-lt_10e',
    )
]
LAST = sorted({*TABLE_6, *TABLES_7_TO_9})
FIRST = sorted({earlier(name, 'stage1') for name in LAST})
NAMES = [*FIRST, *LAST]


def first_of(name):
    return load(earlier(name, 'stage1'))


def method_of(name):
    return name.split('/')[1].split('_')[0]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def test_there_is_a_config_for_every_row_and_every_first_stage_is_of_use():
    kinds = r'(?!digits_lt)\w+/(ce-mixup|crt|lws|mislas)|\w+/ce_r\d+_(imagenet-lt|inat|places)'
    files = [name for name in FILES if re.match(kinds, name)]
    assert set(with_variants(files)) == {*LAST, *FIRST}


@pytest.mark.parametrize('name', TABLE_6)
def test_table_6(name):
    decay, batch, epochs, last_epochs, head, tail, ratio = TABLE_6[name]
    first, last = first_of(name), load(name)
    for cfg, number in ((first, epochs), (last, last_epochs)):
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.momentum) == ('SGD', 0.1, 0.9)
        assert optimizer.weight_decay == decay
        assert cfg.auto_scale_lr.base_batch_size == batch
        assert cfg.train_cfg.max_epochs == number
    (cosine,) = last.param_scheduler
    assert (cosine.type, cosine.end, cosine.eta_min) == ('CosineAnnealingLR', last_epochs, 0)
    schedule = first.param_scheduler[-1]
    if 'cifar' in name:
        assert schedule.type == 'MultiStepLR' and schedule.milestones == [160, 180]
        assert schedule.gamma == 0.1
    else:
        assert (schedule.type, schedule.end) == ('CosineAnnealingLR', epochs)
    loss = last.model.head.loss
    assert (
        loss.type == 'lt_mm.LabelAwareSmoothingLoss' and loss.get('shape', 'concave') == 'concave'
    )
    assert (loss.head_smoothing, loss.tail_smoothing) == (head, tail)
    assert last.optim_wrapper.paramwise_cfg.custom_keys['head.fc'].lr_mult == ratio


@pytest.mark.parametrize('name', LAST)
def test_second_stage_is_the_method_that_its_name_says(name):
    cfg, first = load(name), first_of(name)
    method = method_of(name)
    sampler = dict(type='lt_mm.ClassAwareSampler', samples_per_class=4)
    assert cfg.train_dataloader.sampler == sampler
    assert first.train_dataloader.sampler.type == 'DefaultSampler'
    assert cfg.model.get('train_cfg') is None
    mixup = first.model.get('train_cfg')
    assert (mixup is not None) == (method not in ('crt', 'lws'))
    if mixup is not None:
        assert mixup.augments.type == 'Mixup'
        assert mixup.augments.alpha == (1.0 if 'cifar' in name else 0.2)
        assert first.model.head.loss.use_soft
        assert first.data_preprocessor.num_classes == first.model.head.num_classes
    smoothed = (cfg.model.head.get('loss') or {}).get('type') == 'lt_mm.LabelAwareSmoothingLoss'
    assert smoothed == (method == 'mislas')
    scaled = cfg.model.head.alignment == dict(type='lt_mm.LearnableWeightScaling')
    assert scaled == (not method.startswith('crt'))
    assert bool(cfg.model.head.get('freeze_classifier')) == method.startswith('lws')
    renewed = [hook.parts for hook in cfg.custom_hooks if hook.type == 'lt_mm.ReinitializeHook']
    assert renewed == ([['head.fc']] if method.startswith('crt') else [])


@pytest.mark.parametrize('name', LAST)
def test_stages_are_two_trainings_on_the_same_data(name, tmp_path):
    first, last = stages_of(name, tmp_path)
    assert (first.name, first.gives, last.name) == ('stage1', 'weights', 'last')
    assert first.cfg.train_dataloader.dataset == last.cfg.train_dataloader.dataset
    mine, theirs = dict(last.cfg.model.backbone), dict(first.cfg.model.backbone)
    assert {**mine, 'init_cfg': None} == {**theirs, 'init_cfg': None}
    assert first.cfg.model.head.num_classes == last.cfg.model.head.num_classes
    assert first.cfg.model.head.in_channels == last.cfg.model.head.in_channels
    assert 'mixup' in first.cfg.filename or method_of(name) in ('crt', 'lws')
    assert first.cfg.get('variant') == last.cfg.get('variant')


@pytest.mark.parametrize('name', NAMES)
def test_name_tells_what_it_is(name):
    cfg = load(name)
    assert path_of(name).read_text().startswith('# Table ')
    metrics = ['lt_mm.LongTailAccuracy', 'lt_mm.CalibrationError']
    assert [each.type for each in cfg.test_evaluator] == metrics
    assert cfg.val_evaluator == cfg.test_evaluator
    file, _, variant = name.split('/')[1].partition('@')
    _, network, data, _ = file.split('_')
    depth = variant if variant.startswith('r') else network
    assert cfg.model.backbone.depth == int(depth[1:])
    assert cfg.model.head.num_classes == CLASSES[data.split('-')[0]]
    if 'cifar' in name:
        factor = int(variant[2:] or 100)
        assert cfg.train_dataloader.dataset.imbalance_factor == factor


def test_places_begins_with_published_weights():
    backbone = load('places_lt/ce_r152_places-lt_90e').model.backbone
    assert backbone.init_cfg.checkpoint == 'torchvision://resnet152'


@pytest.fixture
def uninitialised(monkeypatch):
    """Leave weights as the memory has them: building a large model is then a matter of moments."""
    for layer in (nn.modules.conv._ConvNd, nn.Linear):
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)


def build(cfg):
    model = ConfigDict(cfg.model.to_dict())
    model.data_preprocessor = cfg.data_preprocessor.to_dict()
    return MODELS.build(model).train()


def rates(model, cfg):
    """Learning rate of every parameter that has one; those at 0 and the frozen ones left out."""
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    return {
        name: groups[id(parameter)]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and groups[id(parameter)] > 0
    }


def moving_statistics(model):
    return {
        name.split('.')[1]
        for name, part in model.named_modules()
        if isinstance(part, nn.BatchNorm2d) and part.training
    }


CLASSIFIER = {'head.fc.weight', 'head.fc.bias'}
SCALE = 'head.alignment.scale'


@pytest.mark.parametrize(
    'name', ['imagenet_lt/{}_r50_imagenet-lt_10e', 'places_lt/{}_r152_places-lt_10e']
)
@pytest.mark.parametrize('method', ['crt', 'lws', 'mislas'])
def test_what_learns_in_the_second_stage(method, name, uninitialised):
    cfg = load(name.format(method))
    model = build(cfg)
    expected = {
        'crt': dict.fromkeys(CLASSIFIER, 0.1),
        'lws': {SCALE: 0.1},
        'mislas': {**dict.fromkeys(CLASSIFIER, 0.1 * 0.05), SCALE: 0.1},
    }
    assert rates(model, cfg) == pytest.approx(expected[method])
    # On Places-LT only the stage of the block that was trained has its statistics shifted.
    shifted = {'layer4'} if 'places' in name else {'bn1', *(f'layer{i}' for i in range(1, 5))}
    assert moving_statistics(model) == shifted


def test_what_learns_in_the_first_stage(uninitialised):
    cfg = load('places_lt/ce_r152_places-lt_90e')
    learning = rates(build(cfg), cfg)
    parts = {'.'.join(name.split('.')[:3]) for name in learning if name.startswith('backbone')}
    assert parts == {'backbone.layer4.2'}
    assert CLASSIFIER < learning.keys() and set(learning.values()) == {0.1}
    cfg = load('imagenet_lt/ce-mixup_r50_imagenet-lt_180e')
    model = build(cfg)
    assert rates(model, cfg).keys() == dict(model.named_parameters()).keys()


@pytest.mark.parametrize('name', [name for name in NAMES if '@r' in name])
def test_deeper_networks_differ_by_their_depth_alone(name):
    shallow = load(name.partition('@')[0]).model.to_dict()
    deep = load(name).model.to_dict()
    assert deep['backbone'].pop('depth') == int(name.partition('@r')[2])
    assert shallow['backbone'].pop('depth') == 50
    assert deep == shallow


@pytest.mark.parametrize('name', [*TABLE_6, 'inaturalist2018/crt_r50_inaturalist2018_30e'])
def test_networks_have_their_classes(name, uninitialised):
    cfg = load(name)
    model = build(cfg)
    assert model.head.fc.weight.shape == (cfg.model.head.num_classes, cfg.model.head.in_channels)
    assert any(hasattr(module, 'set_class_counts') for module in model.modules())


@pytest.mark.parametrize(
    'name', ['cifar_lt/mislas_r32_cifar10-lt_10e@if50', 'cifar_lt/mislas_r32_cifar100-lt_10e']
)
def test_two_stages_take_a_step_on_cifar(name):
    """Mixup reaches the first loss; the second stage loads its weights and moves what it should."""
    first, cfg = first_of(name), load(name)
    classes = cfg.model.head.num_classes
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    images = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)

    def batch_for(model):
        samples = [pipeline(dict(img=x, gt_label=i, sample_idx=i)) for i, x in enumerate(images)]
        return model.data_preprocessor(default_collate(samples), training=True)

    earlier = build(first)
    batch = batch_for(earlier)
    mixed = torch.stack([sample.gt_score for sample in batch['data_samples']])
    assert mixed.shape == (4, classes) and (mixed.amax(1) < 1).any()
    torch.testing.assert_close(mixed.sum(1), torch.ones(4))
    total, _ = earlier.parse_losses(earlier(**batch, mode='loss'))
    total.backward()
    assert all(parameter.grad is not None for parameter in earlier.parameters())

    model = build(cfg)
    missing = model.load_state_dict(earlier.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith(('head.alignment', 'head.loss')) for key in missing.missing_keys)
    counts = ClassCounts([ceil(500 * 0.95**c) for c in range(classes)], unit='images')
    set_class_counts(model, counts)
    batch = batch_for(model)
    assert 'gt_score' not in batch['data_samples'][0]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapper.update_params(model.parse_losses(model(**batch, mode='loss'))[0])
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert {k for k in moved if k.startswith('head')} == {*CLASSIFIER, SCALE}
    # The public settings of CIFAR-10 do not shift batch normalisation.
    statistics = {'running_mean', 'running_var', 'num_batches_tracked'}
    expected = set() if classes == 10 else statistics
    assert {k.rsplit('.', 1)[1] for k in moved if k.startswith('backbone')} == expected
