"""The classification teacher: features, logits, and which checkpoints fit it."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

from lt_mm.models.teachers.classification_teacher import ClassificationTeacher
from lt_mm.structures import ClassCounts

PLAIN = dict(
    type='ImageClassifier',
    backbone=dict(type='LeNet5'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=120),
)
COSINE = dict(PLAIN, head=dict(PLAIN['head'], type='lt_mm.CosineClsHead'))
GML = dict(
    PLAIN,
    type='lt_mm.LongTailClassifier',
    head=dict(
        PLAIN['head'], type='lt_mm.GMLClsHead', contrast=dict(size=9, min_size=2, widths=(5,))
    ),
    key_momentum=0.9,
)
STACKED = dict(
    PLAIN, head=dict(type='StackedLinearClsHead', num_classes=3, in_channels=120, mid_channels=[7])
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def trained(cfg):
    model = MODELS.build(copy.deepcopy(cfg)).eval()
    for part in model.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([6, 3, 1]))
    return model


def saved(model, path):
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.mark.parametrize('cfg', [PLAIN, COSINE, GML, STACKED])
def test_features_and_logits_are_those_of_the_trained_model(tmp_path, cfg):
    model = trained(cfg)
    teacher = ClassificationTeacher(cfg, saved(model, tmp_path / 'a.pth'))
    images = torch.randn(2, 1, 32, 32)
    features, logits = teacher(images)
    torch.testing.assert_close(features, model.extract_feat(images, stage='pre_logits').detach())
    torch.testing.assert_close(logits, model(images).detach())
    assert not features.requires_grad and not logits.requires_grad
    assert len(features) == 2 and features.shape[1] == (7 if cfg is STACKED else 120)
    assert not isinstance(teacher, nn.Module) and copy.deepcopy(teacher) is teacher


@pytest.mark.parametrize(('config', 'checkpoint'), [(COSINE, GML), (GML, COSINE)])
def test_what_only_training_needs_may_be_absent_or_extra(tmp_path, config, checkpoint):
    model = trained(checkpoint)
    teacher = ClassificationTeacher(config, saved(model, tmp_path / 'a.pth'))
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(teacher(images).logits, model(images).detach())


def test_what_the_features_need_may_not(tmp_path):
    checkpoint = saved(trained(GML), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='1 missing from it: head.fc.bias'):
        ClassificationTeacher(PLAIN, checkpoint)
    wider = copy.deepcopy(COSINE)
    wider['head']['num_classes'] = 4
    with pytest.raises(ValueError, match=r'(?s)does not fit.*size mismatch for head.fc.weight'):
        ClassificationTeacher(wider, checkpoint)


def test_without_a_head(tmp_path):
    headless = dict(PLAIN, head=None)
    with pytest.raises(ValueError, match='ImageClassifier has no head, which gives no pre_logits'):
        ClassificationTeacher(headless, saved(trained(headless), tmp_path / 'a.pth'))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_around_it_or_of_its_images(tmp_path, dtype):
    teacher = ClassificationTeacher(PLAIN, saved(trained(PLAIN), tmp_path / 'a.pth'))
    images = torch.randn(2, 1, 32, 32).to(dtype)
    exact = teacher(images.float())
    with torch.autocast('cpu', dtype=dtype):
        around = teacher(images.float())
    for got, tolerance in ((teacher(images), 0), (around, 0.05)):
        for value, expected in zip(got, exact, strict=True):
            torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)


def test_config_by_name_with_the_preprocessor_beside_the_model(tmp_path):
    name = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
    backbone = dict(type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,))
    head = dict(type='LinearClsHead', num_classes=10, in_channels=512)
    model = trained(dict(PLAIN, backbone=backbone, head=head))
    teacher = ClassificationTeacher(name, saved(model, tmp_path / 'a.pth'))
    assert teacher.preprocessor.mean.flatten().tolist() == pytest.approx(
        [125.307, 122.961, 113.8575]
    )
    assert teacher(torch.zeros(1, 3, 32, 32)).features.shape == (1, 512)
