"""LongTailClsHead: what contrast and distillation are given, L_GML restated, what is refused."""

import copy
import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from lt_mm.models.losses import ContrastLoss
from lt_mm.structures import ClassCounts, sample_ids

COUNTS = [60, 25, 10, 5]
SMALL = dict(size=40, min_size=10, widths=(8, 6))


@MODELS.register_module()
class SpyContrast(ContrastLoss):
    """Keeps what it is given."""

    num_query_views = 2

    def __init__(self, num_classes, in_channels, key_channels=None):
        super().__init__()
        self.key_channels = in_channels if key_channels is None else key_channels
        self.sizes = num_classes, in_channels, self.key_channels

    def contrast(self, batch):
        self.batch = batch
        return dict(loss_spy=batch.queries.sum(), spy_log=torch.tensor(1.0))


@MODELS.register_module()
class SpyContrastWithoutKeys(SpyContrast):
    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes, in_channels)
        self.key_channels = None


@MODELS.register_module()
class EmptyContrast(SpyContrast):
    """A container, as a user may write one, that is false where its truth is asked for."""

    def __len__(self):
        return 0


@MODELS.register_module()
class SquaredDifference(nn.Module):
    def forward(self, student, teacher):
        return (student - teacher).square().sum()


KD = dict(distillation=dict(type='SquaredDifference'))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(contrast=None, counts=COUNTS, **changes):
    cfg = dict(type='lt_mm.CosineClsHead', num_classes=4, in_channels=5) | changes
    if contrast is not None:
        cfg['contrast'] = {'type': 'SpyContrast', **contrast}
    head = MODELS.build(copy.deepcopy(cfg))
    head.init_weights()
    set_counts(head, counts)
    return head


def gml(contrast=None, **changes):
    changes = dict(type='lt_mm.GMLClsHead') | changes
    return build(contrast=dict(type='lt_mm.GMLLoss') | SMALL | (contrast or {}), **changes)


def set_counts(model, counts=COUNTS):
    for part in model.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(counts))


def samples(labels=(0, 2), **meta):
    made = [DataSample(metainfo=dict(sample_idx=7 + i, **meta)) for i in range(len(labels))]
    return [sample.set_gt_label(int(label)) for sample, label in zip(made, labels, strict=True)]


FEATURES = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))


def test_without_either_there_is_nothing_beside_l_cls():
    head = build()
    assert set(head.loss((FEATURES,), samples())) == {'loss_cls'}
    assert head.num_query_views == 0 and not head.takes_keys and not head.key_channels


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
    other, keys = torch.randn(2, 5), torch.randn(2, 9)
    unknown = [DataSample().set_gt_label(1) for _ in range(2)]
    for queries, expected in (
        ([None, other], [FEATURES, other]),
        ([other], [other]),
        (torch.stack([other, FEATURES]), [other, FEATURES]),
    ):
        head.loss((FEATURES,), unknown, queries=queries, keys=keys)
        batch = head.contrast.batch
        assert torch.equal(batch.queries, torch.stack(expected)) and torch.equal(batch.keys, keys)
    assert batch.ids.tolist() == batch.indices.tolist() == [-1, -1]


def test_sizes_are_filled_in():
    assert build(contrast={}).contrast.sizes == (4, 5, 5)
    head = build(contrast=dict(key_channels=9))
    assert head.contrast.sizes == (4, 5, 9) and head.takes_keys
    assert head.key_channels == {'contrast.key_channels': 9}
    without = build(contrast=dict(type='SpyContrastWithoutKeys'))
    assert not without.takes_keys and without.key_channels == {}


@pytest.mark.parametrize('kind', ['SpyContrast', SpyContrast, 'mmpretrain.SpyContrast'])
def test_a_contrast_by_name_and_by_class(kind):
    head = build(contrast=dict(type=kind))
    assert set(head.loss((FEATURES,), samples())) == {'loss_cls', 'loss_spy', 'spy_log'}


def test_a_contrast_that_is_false_is_there_all_the_same():
    head = build(contrast=dict(type='EmptyContrast'))
    assert not head.contrast
    assert 'loss_spy' in head.loss((FEATURES,), samples()) and head.takes_keys
    assert head.num_query_views == 2


def test_what_compares_no_features_is_no_contrast():
    with pytest.raises(ValueError, match='is a LogitAdjustedLoss, which compares no features; use'):
        build(contrast=dict(type='lt_mm.LogitAdjustedLoss'))


def test_the_mlps_of_a_contrast_loss_keep_their_own_start():
    head = gml(dict(widths=(50,)), classifier='linear')
    assert head.contrast.query_mlp.layers[0].weight.std() > 0.1
    assert head.fc.weight.std() < 0.03


def test_distillation_sees_logits_without_the_prior():
    head = build(**KD)
    teacher_logits = torch.randn(2, 4)
    losses = head.loss((FEATURES,), samples(), teacher_logits=teacher_logits)
    unit = nn.functional.normalize
    raw = 30 * unit(FEATURES) @ unit(head.fc.weight).T
    torch.testing.assert_close(losses['loss_kd'], (raw - teacher_logits).square().sum())


def test_distillation_without_a_teacher_or_of_other_classes():
    head = build(**KD)
    with pytest.raises(ValueError, match='distillation of LongTailLinearClsHead has no teacher; u'):
        head.loss((FEATURES,), samples())
    with pytest.raises(ValueError, match=r'shape \(2, 3\), but those .* \(2, 4\); .*same classes'):
        head.loss((FEATURES,), samples(), teacher_logits=torch.randn(2, 3))


def test_soft_labels_are_for_the_classifier_alone():
    soft = [sample.set_gt_score(torch.rand(4).softmax(0)) for sample in samples()]
    with pytest.raises(ValueError, match='LongTailLinearClsHead needs hard labels.*take Mixup'):
        build(contrast={}).loss((FEATURES,), soft)
    losses = build(**KD).loss((FEATURES,), soft, teacher_logits=torch.zeros(2, 4))
    assert set(losses) == {'loss_cls', 'loss_kd'}


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_features_that_are_not_finite_name_the_head(value):
    head, bad = build(contrast={}), FEATURES.clone()
    bad[1, 2] = value
    with pytest.raises(FloatingPointError, match='LongTailLinearClsHead: its features are not fi'):
        head.loss((bad,), samples())
    with pytest.raises(FloatingPointError, match='LongTailLinearClsHead: its keys are not finite'):
        head.loss((FEATURES,), samples(), keys=bad)
    assert not hasattr(head.contrast, 'batch')


@pytest.mark.parametrize('alpha', [1.0, 0.3, 0.0])
def test_loss_gml_is_eq_11_over_the_batch_as_keys(alpha):
    """With slots for all: each query against the mean likelihood of every class of the batch."""
    head = gml(alpha=alpha).double()
    features, labels = torch.randn(8, 5).double(), torch.arange(8) % 4
    losses = head.loss((features,), samples(labels))
    queries = head.contrast.query_mlp(features).tolist()
    keys = head.contrast.key_mlp(features).tolist()
    total = 0.0
    for query, label in zip(queries, labels.tolist(), strict=True):
        scores = []
        for c in range(4):
            own = [key for key, other in zip(keys, labels.tolist(), strict=True) if other == c]
            dots = [sum(a * b for a, b in zip(query, key, strict=True)) for key in own]
            mean = sum(math.exp(dot / 0.07) for dot in dots) / len(own)
            scores.append(mean * (COUNTS[c] / 100) ** alpha)
        total -= math.log(scores[label] / sum(scores))
    assert losses['loss_gml'].item() == pytest.approx(total / 8, rel=1e-5)
    assert losses['gml_queue_filled'].item() == pytest.approx(8 / 40)
    assert set(losses) == {'loss_cls', 'loss_gml', 'gml_queue_filled'}


@pytest.mark.parametrize('contrast', [None, dict(loss_weight=0.5), dict(type='lt_mm.GMLLoss')])
def test_defaults_are_those_of_table_a_1_for_imagenet_lt(contrast):
    given = {} if contrast is None else dict(contrast=contrast)
    head = MODELS.build(dict(type='lt_mm.GMLClsHead', num_classes=1000, in_channels=6, **given))
    queue = head.contrast.queue
    assert (queue.size, queue.min_size) == (16384, 2)
    linears = [layer for layer in head.contrast.query_mlp.layers if hasattr(layer, 'in_features')]
    assert [layer.out_features for layer in linears] == [2048, 1024]
    assert head.contrast.temperature == 0.07
    assert head.fc.temperature == pytest.approx(1 / 30)
    assert (head.loss_module.alpha, head.contrast.alpha) == (1.0, 1.0)


def test_a_contrast_of_another_type_replaces_that_of_the_preset():
    head = build(type='lt_mm.GMLClsHead', contrast=dict(type='lt_mm.SupConLoss', widths=(8, 6)))
    assert set(head.loss((FEATURES,), samples())) == {'loss_cls', 'loss_supcon'}
    without = MODELS.build(
        dict(type='lt_mm.GMLClsHead', num_classes=4, in_channels=5, contrast=None)
    )
    assert without.contrast is None


def image_classifier(**contrast):
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='LeNet5'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='lt_mm.GMLClsHead', num_classes=4, in_channels=120, contrast=SMALL | contrast
            ),
        )
    )
    set_counts(model)
    return model.train()


def test_trains_in_mmpretrains_classifier_with_a_temperature_that_moves():
    model = image_classifier(trainable_temperature=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in model.named_parameters()}
    images, labels = torch.randn(8, 1, 32, 32), torch.arange(8) % 4
    for _ in range(2):
        losses = model(images, samples(labels), mode='loss')
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    assert {'loss_gml_temperature', 'gml_temperature'} <= losses.keys()
    assert 0 < losses['gml_temperature'] != pytest.approx(0.07)
    for name, value in model.named_parameters():
        assert value.isfinite().all() and not torch.equal(value, before[name]), name


def test_inference_is_that_of_the_cosine_head_with_the_same_weights():
    model, images = image_classifier().eval(), torch.randn(2, 1, 32, 32)
    plain = copy.deepcopy(model)
    plain.head = MODELS.build(
        dict(type='lt_mm.CosineClsHead', num_classes=4, in_channels=120)
    ).eval()
    weights = {
        name: value for name, value in model.head.state_dict().items() if name == 'fc.weight'
    }
    plain.head.load_state_dict(weights, strict=False)
    torch.testing.assert_close(model(images), plain(images), rtol=0, atol=0)
    model.predict(images)
    assert not model.head.contrast.queue.filled.any()


def test_a_batch_of_one_image_and_a_class_without_images():
    head = gml(counts=[90, 10, 0, 0])
    losses = head.loss((torch.randn(1, 5),), samples([3]))
    (losses['loss_cls'] + losses['loss_gml']).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(value.grad.isfinite().all() for value in head.parameters())
    assert head.contrast.queue.filled.tolist() == [0, 0, 0, 1]


def test_labels_counts_and_sizes_that_cannot_be():
    with pytest.raises(ValueError, match='label 4 reached LongTailLinearClsHead, which has 4 cla'):
        gml().loss((FEATURES,), samples([0, 4]))
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        gml(counts=None).loss((FEATURES,), samples([0, 1]))
    with pytest.raises(ValueError, match='3 classes but GMLLoss has 4'):
        gml(counts=[1, 2, 3])
    with pytest.raises(ValueError, match='39'):
        gml(dict(size=39))


def test_nan_features_leave_the_queue_alone():
    head, features = gml(), FEATURES.clone()
    features[0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match='LongTailLinearClsHead: its features are not fi'):
        head.loss((features,), samples([0, 1]))
    assert not head.contrast.queue.filled.any()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    features, labels = torch.randn(8, 5), samples(torch.arange(8) % 4)
    head = gml()
    exact = copy.deepcopy(head).loss((features,), labels)
    with torch.autocast('cpu', dtype=dtype):
        losses = head.loss((features.to(dtype).requires_grad_(),), labels)
    (losses['loss_cls'] + losses['loss_gml']).backward()
    for name in ('loss_cls', 'loss_gml'):
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(losses[name], exact[name], rtol=0.1, atol=0.1)
    assert all(value.grad.isfinite().all() for value in head.parameters())
