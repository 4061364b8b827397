"""Methods on configs that mmsegmentation and mmpretrain ship, shrunk: built, and one step."""

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn

from lt_mm.analysis.variants import (
    CLASSIFICATION,
    SEGMENTATION,
    VARIANTS,
    Context,
    check_model,
    config_diff,
    derive,
    method_name,
    task_of,
)
from lt_mm.models.counts import set_class_counts
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts

SEGMENTORS = (
    'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
    'ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py',
)
CLASSIFIERS = (
    'resnet/resnet18_8xb16_cifar10.py',
    'vision_transformer/vit-base-p16_64xb64_in1k.py',
)


def shipped(package, name):
    config = get_config(f'{package}::{name}')
    backbone = config.model.backbone
    for part in (config.model, backbone):
        part.pop('pretrained', None)
    backbone.pop('init_cfg', None)
    if backbone.type == 'HRNet':
        for stage in backbone.extra.values():
            stage.update(num_modules=1, num_blocks=(1,) * stage.num_branches)
    if backbone.type == 'ResNet_CIFAR':
        backbone.update(base_channels=8, stem_channels=8)
        config.model.head.update(in_channels=64)
    if backbone.type == 'VisionTransformer':
        backbone.update(
            arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16),
            img_size=32,
        )
        config.model.head.update(in_channels=16, num_classes=7)
    if 'data_preprocessor' in config and package == 'mmseg':
        config.model.data_preprocessor.size = (64, 64)
    return config


def classes_of(config):
    head = config.model.get('decode_head') or config.model.head
    return (head[-1] if isinstance(head, list) else head)['num_classes']


@pytest.fixture
def context(tmp_path):
    def make(config):
        path = tmp_path / 'counts.json'
        counts = [5000 // (i + 1) ** 2 for i in range(classes_of(config))]
        ClassCounts(counts, unit='images').save(path)
        return Context(str(path), str(tmp_path / 'cache'), 10)

    return make


def one_step(config, context):
    """Losses of a model, and that the classifier got a gradient."""
    torch.manual_seed(0)
    init_default_scope(config.default_scope)
    model = revert_sync_batchnorm(MODELS.build(deepcopy(config.model))).train()
    set_class_counts(model, ClassCounts.load(context.class_counts))
    classes = classes_of(config)
    if task_of(config) == SEGMENTATION:
        labels = torch.randint(classes, (2, 1, 64, 64))
        labels[:, :, :5] = 255
        samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]
        losses = model.loss(torch.randn(2, 3, 64, 64), samples)
    else:
        labels = torch.tensor([0, classes - 1])
        samples = [DataSample().set_gt_label(one) for one in labels]
        if config.model.get('train_cfg', {}).get('augments'):
            for one in samples:
                one.set_gt_score(torch.eye(classes)[one.gt_label[0]] * 0.8 + 0.2 / classes)
        losses = model.loss(torch.randn(2, 3, 32, 32), samples)
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    head = model.decode_head if task_of(config) == SEGMENTATION else model.head
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(one).all() for one in gradients)
    return {key: float(value) for key, value in losses.items() if 'loss' in key}


@pytest.mark.parametrize('name', SEGMENTORS)
def test_every_method_trains_a_shipped_segmentor(name, context):
    config = shipped('mmseg', name)
    before = deepcopy(config.to_dict())
    known = context(config)
    losses = {}
    # Slow ones are here for what is special about their losses and heads.
    few = ('ce', 'la', 'balanced-softmax', 'la-post-hoc', 'rfs', 'ldam-drw', 'gml')
    for method in few if name in SEGMENTORS[2:] else VARIANTS:
        if method == 'class-balanced':
            continue
        derived = derive(config, method, known)
        check_model(derived)
        losses[method] = one_step(derived, known)
    assert config.to_dict() == before
    assert len(losses['la']) == len(losses['ce']) == len(losses['gml']) - 1
    assert losses['rfs'] == losses['la-post-hoc'] == losses['ce']
    assert sum(losses['balanced-softmax'].values()) != sum(losses['la'].values())
    assert sum(losses['la'].values()) != sum(losses['ce'].values())


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_every_method_trains_a_shipped_classifier(name, context):
    config = shipped('mmpretrain', name)
    before = deepcopy(config.to_dict())
    known = context(config)
    losses = {}
    for method in VARIANTS:
        if method == 'rfs':
            continue
        derived = derive(config, method, known)
        check_model(derived)
        losses[method] = sum(one_step(derived, known).values())
    assert config.to_dict() == before
    assert losses['class-balanced'] == losses['ce']
    assert losses['la'] == losses['balanced-softmax'] != losses['ce']


def test_la_of_a_shipped_config_is_the_cross_entropy_of_adjusted_logits(context):
    config = shipped('mmpretrain', CLASSIFIERS[0])
    known = context(config)
    derived = derive(config, 'la', known, 0.7)
    init_default_scope('mmpretrain')
    head = MODELS.build(derived.model.head)
    counts = ClassCounts.load(known.class_counts)
    set_class_counts(head, counts)
    features = torch.randn(5, 64)
    labels = torch.tensor([0, 3, 9, 9, 1])
    loss = head.loss((features,), [DataSample().set_gt_label(one) for one in labels])['loss_cls']
    logits = (features @ head.fc.weight.T + head.fc.bias).double()
    prior = counts.counts.double() / counts.counts.sum()
    naive = 0.0
    for row, label in zip(logits, labels.tolist(), strict=True):
        scores = [float(row[c] + 0.7 * prior[c].log()) for c in range(10)]
        naive -= scores[label] - torch.tensor(scores).double().logsumexp(0)
    assert float(loss) == pytest.approx(float(naive / 5), rel=1e-5)


def test_other_terms_weights_and_names_of_losses_stay():
    config = Config(
        dict(
            model=dict(
                type='EncoderDecoder',
                decode_head=dict(
                    type='FCNHead', num_classes=3, in_channels=4, channels=4,
                    loss_decode=[
                        dict(type='CrossEntropyLoss', class_weight=[1, 2, 3], loss_weight=0.4,
                             loss_name='loss_one'),
                        dict(type='DiceLoss', loss_weight=2.0),
                    ],
                ),
                auxiliary_head=[
                    dict(type='FCNHead', loss_decode=dict(type='CrossEntropyLoss')),
                    dict(type='STDCHead', loss_decode=dict(type='CrossEntropyLoss')),
                ],
            ),
        )
    )  # fmt: skip
    nothing = Context('', '', 1)
    la = derive(config, 'la', nothing).model
    first, second = la.decode_head.loss_decode
    assert dict(first) == dict(
        type='lt_mm.LogitAdjustedLoss', alpha=0.2, loss_weight=0.4, loss_name='loss_one'
    )
    assert dict(second) == dict(type='DiceLoss', loss_weight=2.0)
    assert la.auxiliary_head[0].loss_decode.type == 'lt_mm.LogitAdjustedLoss'
    assert la.auxiliary_head[1].loss_decode.type == 'CrossEntropyLoss'
    ce = derive(config, 'ce', nothing).model.decode_head
    # Its class weights are taken off.
    assert ce.type == 'lt_mm.LongTailHead' and ce.base == 'FCNHead'
    assert dict(ce.loss_decode[0]) == dict(
        type='lt_mm.LogitAdjustedLoss', alpha=0.0, loss_weight=0.4, loss_name='loss_one'
    )
    assert derive(config, 'own', nothing).to_dict() == config.to_dict()


@pytest.mark.parametrize('name', ['gml', 'cosine', 'balanced-softmax'])
def test_configs_of_this_package_become_plain_first(name):
    config = Config.fromfile(f'configs/digit_scenes/{name}_fcn_r18_digits.py')
    ce = derive(config, 'ce', Context('', '', 1))
    plain = Config.fromfile('configs/digit_scenes/ce_fcn_r18_digits.py')
    assert ce.model.decode_head.loss_decode == dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)
    changed = config_diff(plain.model.to_dict(), ce.model.to_dict())
    assert not [line for line in changed if 'contrast' in line or 'classifier' in line]
    assert ce.model.decode_head.base == plain.model.decode_head.type
    assert 'teacher' not in ce.model and not ce.get('earlier_stages')


def test_a_teacher_of_the_config_teaches_gml():
    config = Config.fromfile('configs/digit_scenes/gml_fcn_r18_digits.py')
    gml = derive(config, 'gml', Context('', '', 1))
    assert gml.model.type == 'lt_mm.LongTailEncoderDecoder'
    assert 'teacher' in gml.model and gml.earlier_stages
    contrast = gml.model.decode_head.contrast
    assert (contrast.size, contrast.alpha) == (config.model.decode_head.contrast.size, 0.2)
    other = config.copy()
    other.model.decode_head.contrast = dict(type='lt_mm.BalancedContrastiveLoss', temperature=0.1)
    assert derive(other, 'gml', Context('', '', 1)).model.decode_head.contrast == dict(
        type='lt_mm.GMLLoss', alpha=0.2
    )
    assert not derive(config, 'la', Context('', '', 1)).get('earlier_stages')


@pytest.mark.parametrize(
    ('head', 'method', 'reason'),
    [
        (dict(type='PointHead', num_classes=3), 'la', 'classifies points by fc_seg'),
        (dict(type='Mask2FormerHead', num_classes=3), 'gml', 'no BaseDecodeHead'),
        (dict(type='FCNHead', loss_decode=dict(type='DiceLoss')), 'la', 'DiceLoss, which is no'),
        (dict(type='NoSuchHead', num_classes=3), 'cosine', 'no known head'),
    ],
)
def test_a_head_that_cannot_have_a_method_is_refused_with_the_reason(head, method, reason):
    model = dict(type='EncoderDecoder', decode_head=head)
    with pytest.raises(ValueError, match=reason):
        derive(Config(dict(model=model, default_scope='mmseg')), method, Context('', '', 1))


def test_binary_heads_of_one_channel_are_refused_when_built():
    config = shipped('mmseg', SEGMENTORS[0])
    config.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    config.model.decode_head.loss_decode.use_sigmoid = True
    with pytest.raises(ValueError, match='its model cannot be built: .*out_channels=1'):
        check_model(derive(config, 'la', Context('', '', 1)))


def test_a_config_without_a_head_is_no_task():
    with pytest.raises(ValueError, match='SimCLR with neither decode_head nor head'):
        task_of(dict(model=dict(type='SimCLR')))


@pytest.mark.parametrize(
    ('given', 'task', 'name'),
    [
        ('la', SEGMENTATION, 'la'),
        ('class-aware', CLASSIFICATION, 'class-balanced'),
        ('rfs', CLASSIFICATION, 'class-balanced'),
        ('class-balanced', SEGMENTATION, 'rfs'),
        ('post-hoc', SEGMENTATION, 'la-post-hoc'),
    ],
)
def test_names_of_methods(given, task, name):
    assert method_name(given, task) == name


def test_an_unknown_method_is_told_the_nearest():
    with pytest.raises(ValueError, match="'seasaw' is no method; perhaps seesaw"):
        method_name('seasaw', SEGMENTATION)
    with pytest.raises(ValueError, match='choose from own, ce'):
        method_name('xyz', SEGMENTATION)


def test_samplers_draw_as_the_loop_counts(context):
    config = shipped('mmpretrain', CLASSIFIERS[0])
    sampler = derive(config, 'class-balanced', context(config), 0.5).train_dataloader.sampler
    assert dict(sampler, cache_dir='') == dict(
        type='lt_mm.ClassBalancedSampler', q=0.5, infinite=False, cache_dir=''
    )
    config = shipped('mmseg', SEGMENTORS[0])
    assert derive(config, 'rfs', context(config)).train_dataloader.sampler.infinite
    # Repeated images would make epochs longer than those of other methods.
    config.train_cfg = ConfigDict(by_epoch=True, max_epochs=3)
    rfs = derive(config, 'rfs', context(config))
    assert rfs.train_cfg.max_iters == 30 and rfs.train_dataloader.sampler.infinite


def test_drw_begins_in_the_last_fifth(context):
    config = shipped('mmpretrain', CLASSIFIERS[0])
    hook = derive(config, 'ldam-drw', context(config)).custom_hooks[-1]
    assert dict(hook) == dict(type='lt_mm.DeferredHook', begin=160, by_epoch=True)
    config = shipped('mmseg', SEGMENTORS[0])
    hook = derive(config, 'ldam-drw', context(config)).custom_hooks[-1]
    assert dict(hook) == dict(type='lt_mm.DeferredHook', begin=64000, by_epoch=False)


def test_every_method_has_eight_different_values_that_it_can_take(context):
    for package, name in (('mmseg', SEGMENTORS[0]), ('mmpretrain', CLASSIFIERS[0])):
        config = shipped(package, name)
        known = context(config)
        for method, variant in VARIANTS.items():
            values = variant.values[task_of(config)]
            texts = {repr(derive(config, method, known, v).to_dict()) for v in values}
            assert len(texts) == len(values) == 8, method
            assert repr(derive(config, method, known).to_dict()) == repr(
                derive(config, method, known, values[0]).to_dict()
            )


def test_diff_names_each_setting_once():
    old = dict(a=1, b=dict(c=2, d=[1, 2]), e='x')
    new = dict(a=1, b=dict(c=3, d=[1, 5]), f=dict(g=None))
    assert config_diff(old, new) == [
        '- b.c = 2', '+ b.c = 3', '- b.d.1 = 2', '+ b.d.1 = 5', "- e = 'x'", "+ f = {'g': None}",
    ]  # fmt: skip
