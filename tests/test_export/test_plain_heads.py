"""Heads of all kinds predict the same without lt_mm, whatever options were put on them."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as MMPRETRAIN
from mmseg.registry import MODELS as MMSEG

from lt_mm.checkpoints import TRAINING_ONLY
from lt_mm.export.classifier import CLASSIFICATION
from lt_mm.export.plain_model import plain_head
from lt_mm.export.segmentor import SEGMENTATION
from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

# Tiny decode heads of all kinds, and what backbones give them.
_spec = importlib.util.spec_from_file_location(
    'decode_heads', Path(__file__).parents[1] / 'test_models' / 'test_heads' / 'decode_heads.py'
)
decode_heads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(decode_heads)

LWS = dict(type='lt_mm.LearnableWeightScaling')
OPTIONS = {
    'linear': dict(contrast=dict(type='lt_mm.GMLLoss', size=20, min_size=2, widths=(4,))),
    'linear, all': dict(alignment=LWS, freeze_classifier=True, post_compensation=dict()),
    'cosine, all': dict(classifier='cosine', alignment=LWS, post_compensation=dict()),
    'tau-normalised': dict(classifier='tau_normalized', distillation=dict(type='lt_mm.KDLoss')),
}
# Heads of mmpretrain with one classifier, and their further arguments.
CLS_HEADS = {
    'LinearClsHead': {},
    'StackedLinearClsHead': dict(mid_channels=[6], norm_cfg=dict(type='BN1d')),
    'VisionTransformerClsHead': dict(hidden_dim=6),
    'EfficientFormerClsHead': {},
    'LeViTClsHead': {},
    'VigClsHead': dict(hidden_dim=6),
}


def without_lt_mm(task, head, config):
    """The plain head with its weights, in eval mode."""
    head.eval()
    for part in head.modules():
        if isinstance(getattr(part, 'scale', None), torch.nn.Parameter) and part.scale.ndim == 1:
            torch.nn.init.uniform_(part.scale, 0.5, 2)
    weights = {
        name: value
        for name, value in head.state_dict().items()
        if not TRAINING_ONLY.match(f'{task.head}.{name}')
    }
    found = plain_head(task, config, weights)
    assert 'lt_mm' not in str(found.config)
    plain = task.registry.build(copy.deepcopy(found.config)).eval()
    plain.load_state_dict(found.weights)
    return plain


def first(outputs):
    return outputs[0] if isinstance(outputs, tuple) else outputs


@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('base', decode_heads.BASES)
def test_decode_heads(base, options):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = decode_heads.config(base, **OPTIONS[options])
    head = MMSEG.build(copy.deepcopy(config))
    set_class_counts(head, ClassCounts([50, 30, 15, 5]))
    if 'cosine' not in options:
        torch.nn.init.normal_(head.conv_seg.weight)
        torch.nn.init.normal_(head.conv_seg.bias)
    plain = without_lt_mm(SEGMENTATION, head, config)
    inputs = decode_heads.inputs_of(base, training=False)
    predictions = []
    for one in (head, plain):
        # LightHamHead draws random bases at every image.
        torch.manual_seed(1)
        with torch.no_grad():
            predictions.append(first(one(inputs)))
    expected, found = predictions
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('options', [*OPTIONS, 'class means'])
@pytest.mark.parametrize('base', CLS_HEADS)
def test_classifying_heads(base, options):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    chosen = dict(OPTIONS.get(options, dict(classifier='class_means')))
    if base == 'LeViTClsHead':
        # It goes by an attribute of that name.
        chosen.pop('distillation', None)
    config = dict(type='lt_mm.LongTailClsHead', base=base, num_classes=3, in_channels=5)
    config |= CLS_HEADS[base] | chosen
    head = MMPRETRAIN.build(copy.deepcopy(config))
    set_class_counts(head, ClassCounts([70, 20, 10]))
    classifier = head.get_submodule(head.classifier_path)
    torch.nn.init.normal_(classifier.weight)
    if options == 'class means':
        width = classifier.weight.shape[1]
        classifier.set_class_means(torch.randn(3, width), torch.ones(3), torch.randn(width))
    plain = without_lt_mm(CLASSIFICATION, head, config)
    features = torch.randn(4, 5)
    feats = ([None, features],) if base == 'VisionTransformerClsHead' else (features,)
    with torch.no_grad():
        expected, found = head(feats), plain(feats)
    if options == 'class means':
        expected, found = expected.softmax(1), found.softmax(1)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_class_without_a_sample_is_not_predicted_either():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = decode_heads.config('FCNHead', post_compensation=dict())
    head = MMSEG.build(copy.deepcopy(config))
    set_class_counts(head, ClassCounts([9 * 10**9, 10**9, 0, 5]))
    plain = without_lt_mm(SEGMENTATION, head, config)
    inputs = decode_heads.inputs_of('FCNHead', training=False)
    with torch.no_grad():
        expected, found = head.eval()(inputs), plain(inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert not (found.argmax(1) == 2).any()
    large = torch.nn.functional.interpolate(found, size=(97, 61), mode='bilinear')
    assert large.isfinite().all() and not (large.argmax(1) == 2).any()
