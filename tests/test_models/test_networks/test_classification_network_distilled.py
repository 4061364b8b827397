"""Distillation in a LongTailClassifier: fewer experts learn from more, once."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn import functional as F

PREPROCESSOR = dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3)


def config(num_experts, num_classes=4, **changes):
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(PREPROCESSOR),
        backbone=dict(
            type='lt_mm.MultiExpertResNet',
            num_experts=num_experts,
            backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=(4, 4, 8)),
        ),
        neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
        head=dict(
            type='lt_mm.MultiExpertClsHead',
            num_classes=num_classes,
            in_channels=8,
            experts=[dict()] * num_experts,
            interplay=dict(type='lt_mm.DiversityLoss', loss_weight=-0.2),
        ),
        **changes,
    )


def build(cfg):
    init_default_scope('mmpretrain')
    model = MODELS.build(copy.deepcopy(cfg))
    for name, parameter in model.head.named_parameters():
        if name.endswith('weight'):
            torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def teacher(tmp_path):
    def save(**changes):
        cfg = config(4, **changes)
        model = build(cfg)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'teacher.pth')
        return dict(config=cfg, checkpoint=str(tmp_path / 'teacher.pth')), model.eval()

    return save


def student(teacher, **changes):
    cfg = dict(config(2), type='lt_mm.LongTailClassifier')
    cfg['head']['distillation'] = dict(type='lt_mm.KDLoss', temperature=1.5, loss_weight=0.7)
    return build(dict(cfg, teacher=teacher, **changes)).train()


def batch():
    return torch.randn(6, 3, 16, 16), [DataSample().set_gt_label(i % 4) for i in range(6)]


def test_the_mean_logits_are_distilled_once(teacher):
    settings, network = teacher()
    model, (images, samples) = student(settings), batch()
    losses = model(images, samples, mode='loss')
    assert {'expert0.loss_cls', 'expert1.loss_cls', 'loss_kd'} < set(losses)
    feats = model.extract_feat(images)
    own = model.head.expert_logits(feats).mean(0)
    with torch.no_grad():
        taught = network.head.expert_logits(network.extract_feat(images)).mean(0)
    expected = sum(
        (p * (p.log() - q)).sum()
        for p, q in zip((taught / 1.5).softmax(1), F.log_softmax(own / 1.5, 1), strict=True)
    )
    torch.testing.assert_close(losses.pop('loss_kd'), 0.7 * 1.5**2 * expected / 6)
    # The other losses are those of the head, each once.
    model.head.distillation = None
    plain = model.head.loss(feats, samples)
    assert set(losses) == set(plain)
    for key, value in plain.items():
        torch.testing.assert_close(losses[key], value)


def test_all_experts_of_the_student_learn_and_the_teacher_does_not(teacher):
    settings, _ = teacher()
    model = student(settings)
    model(*batch(), mode='loss')['loss_kd'].backward()
    assert all(expert.fc.weight.grad.any() for expert in model.head.experts)
    assert not any(name.startswith('_teacher') for name in model.state_dict())
    assert all(value.grad is None for value in model.teacher.model.parameters())


def test_a_head_of_one_classifier(teacher):
    settings, _ = teacher()
    cfg = dict(
        config(2),
        type='lt_mm.LongTailClassifier',
        backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='lt_mm.LongTailClsHead',
            num_classes=4,
            in_channels=64,
            distillation=dict(type='lt_mm.KDLoss'),
        ),
        teacher=settings,
    )
    model, (images, samples) = build(cfg).train(), batch()
    losses = model(images, samples, mode='loss')
    assert set(losses) == {'loss_cls', 'loss_kd'}
    p = (model.teacher(images).logits / 4).softmax(1)
    q = (model(images) / 4).softmax(1)
    torch.testing.assert_close(losses['loss_kd'], 16 * (p * (p / q).log()).sum() / 6)


def test_bad_teachers(teacher):
    with pytest.raises(ValueError, match='LongTailClassifier has no teacher; set teacher=dict'):
        student(None)
    with pytest.raises(ValueError, match='has no checkpoint and no config; give model.teacher.che'):
        student(dict()).init_weights()
    settings, _ = teacher(num_classes=3)
    with pytest.raises(
        ValueError, match=r'\(6, 3\), but those of MultiExpertClsHead have \(6, 4\)'
    ):
        student(settings)(*batch(), mode='loss')
    settings, _ = teacher()
    settings['config']['data_preprocessor']['mean'] = [1.0] * 3
    with pytest.raises(ValueError, match='mean of the data_preprocessor'):
        student(settings).init_weights()
