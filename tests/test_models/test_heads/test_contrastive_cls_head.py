"""ContrastiveClsHead: what contrast and distillation losses are given, and what is refused."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from lt_mm.structures import ClassCounts, sample_ids


@MODELS.register_module()
class SpyContrast(nn.Module):
    """Keeps what it is given."""

    num_query_views = 2

    def __init__(self, num_classes, in_channels, key_channels=None):
        super().__init__()
        self.sizes = num_classes, in_channels, key_channels

    def contrast(self, batch):
        self.batch = batch
        return dict(loss_spy=batch.queries.sum(), spy_log=torch.tensor(1.0))


@MODELS.register_module()
class SpyContrastWithoutKeys(SpyContrast):
    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes, in_channels)


@MODELS.register_module()
class SquaredDifference(nn.Module):
    def forward(self, student, teacher):
        return (student - teacher).square().sum()


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(contrast=None, **changes):
    cfg = dict(type='lt_mm.ContrastiveClsHead', num_classes=3, in_channels=5, **changes)
    if contrast is not None:
        cfg['contrast'] = {'type': 'SpyContrast', **contrast}
    head = MODELS.build(cfg)
    head.init_weights()
    head.loss_module.set_class_counts(ClassCounts([60, 25, 15]))
    return head


def samples(labels=(0, 2), **meta):
    made = [DataSample(metainfo=dict(sample_idx=7 + i, **meta)) for i in range(len(labels))]
    return [sample.set_gt_label(int(label)) for sample, label in zip(made, labels, strict=True)]


FEATURES = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))


def test_without_either_it_is_a_cosine_head():
    head = build()
    assert set(head.loss((FEATURES,), samples())) == {'loss_cls'}
    assert head.num_query_views == 0 and not head.takes_keys


def test_one_view_is_query_and_detached_key():
    head, features, images = build(contrast={}), FEATURES.clone().requires_grad_(), samples()
    losses = head.loss((features,), images)
    batch = head.contrast.batch
    assert set(losses) == {'loss_cls', 'loss_spy', 'spy_log'}
    assert torch.equal(batch.queries, features[None]) and batch.queries.requires_grad
    assert torch.equal(batch.keys, features) and not batch.keys.requires_grad
    assert batch.labels.tolist() == [0, 2] and batch.labels.dtype == torch.int64
    assert torch.equal(batch.ids, sample_ids(images)) and (batch.ids >= 0).all()
    assert batch.indices.tolist() == [7, 8] and batch.indices.dtype == torch.int64
    assert batch.classifier is head.fc


def test_views_keys_and_unknown_samples():
    head = build(contrast={})
    queries, keys = torch.randn(2, 2, 5), torch.randn(2, 9)
    unknown = [DataSample().set_gt_label(1) for _ in range(2)]
    head.loss((FEATURES,), unknown, queries=queries, keys=keys)
    batch = head.contrast.batch
    assert batch.queries is queries and torch.equal(batch.keys, keys)
    assert batch.ids.tolist() == batch.indices.tolist() == [-1, -1]


def test_sizes_are_filled_in():
    assert build(contrast={}).contrast.sizes == (3, 5, 5)
    head = build(contrast=dict(key_channels=9))
    assert head.contrast.sizes == (3, 5, 9) and head.key_channels == 9 and head.takes_keys
    without = build(contrast=dict(type='SpyContrastWithoutKeys'))
    assert without.contrast.sizes == (3, 5, None) and not without.takes_keys


def test_the_mlps_of_a_contrast_loss_keep_their_own_start():
    head = build(
        contrast=dict(type='lt_mm.GMLLoss', size=9, min_size=2, widths=(50,)), classifier='linear'
    )
    assert head.contrast.query_mlp.layers[0].weight.std() > 0.1
    assert head.fc.weight.std() < 0.03


def test_distillation_sees_logits_without_the_prior():
    head = build(distillation=dict(type='SquaredDifference'))
    teacher_logits = torch.randn(2, 3)
    losses = head.loss((FEATURES,), samples(), teacher_logits=teacher_logits)
    unit = nn.functional.normalize
    raw = 30 * unit(FEATURES) @ unit(head.fc.weight).T
    torch.testing.assert_close(losses['loss_kd'], (raw - teacher_logits).square().sum())


def test_distillation_without_a_teacher_or_of_other_classes():
    head = build(distillation=dict(type='SquaredDifference'))
    with pytest.raises(ValueError, match='distillation of ContrastiveClsHead has no teacher; use'):
        head.loss((FEATURES,), samples())
    with pytest.raises(ValueError, match=r'shape \(2, 4\), but those .* \(2, 3\); .*same classes'):
        head.loss((FEATURES,), samples(), teacher_logits=torch.randn(2, 4))


def test_soft_labels_are_for_the_classifier_alone():
    soft = [sample.set_gt_score(torch.rand(3)) for sample in samples()]
    with pytest.raises(ValueError, match='ContrastiveClsHead needs hard labels.*take Mixup'):
        build(contrast={}).loss((FEATURES,), soft)
    head = build(distillation=dict(type='SquaredDifference'))
    losses = head.loss((FEATURES,), soft, teacher_logits=torch.zeros(2, 3))
    assert set(losses) == {'loss_cls', 'loss_kd'}


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_features_that_are_not_finite_name_the_head(value):
    head, bad = build(contrast={}), FEATURES.clone()
    bad[1, 2] = value
    with pytest.raises(FloatingPointError, match='ContrastiveClsHead: its features are not fin'):
        head.loss((bad,), samples())
    with pytest.raises(FloatingPointError, match='ContrastiveClsHead: its keys are not finite'):
        head.loss((FEATURES,), samples(), keys=bad)
    assert not hasattr(head.contrast, 'batch')
