"""GMLClsHead: L_GML restated, the paper's settings, mmpretrain's own classifier around it."""

import copy
import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 10, 5]
GML = dict(size=40, min_size=10, widths=(8, 6))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(counts=COUNTS, gml=None, **changes):
    cfg = dict(type='lt_mm.GMLClsHead', num_classes=4, in_channels=5, gml=GML | (gml or {}))
    head = MODELS.build(cfg | changes)
    head.init_weights()
    set_counts(head, counts)
    return head


def set_counts(model, counts=COUNTS):
    for part in model.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(counts))


def samples(labels):
    made = [DataSample(metainfo=dict(sample_idx=i)) for i in range(len(labels))]
    return [sample.set_gt_label(int(label)) for sample, label in zip(made, labels, strict=True)]


@pytest.mark.parametrize('alpha', [1.0, 0.3])
def test_loss_gml_is_eq_11_over_the_batch_as_keys(alpha):
    """With slots for all: each query against the mean likelihood of every class of the batch."""
    head = build(alpha=alpha).double()
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


def test_defaults_are_those_of_table_a_1_for_imagenet_lt():
    head = MODELS.build(dict(type='lt_mm.GMLClsHead', num_classes=1000, in_channels=6))
    queue = head.contrast.queue
    assert (queue.size, queue.min_size) == (16384, 2)
    linears = [layer for layer in head.contrast.query_mlp.layers if hasattr(layer, 'in_features')]
    assert [layer.out_features for layer in linears] == [2048, 1024]
    assert head.contrast.temperature == 0.07
    assert head.fc.temperature == pytest.approx(1 / 30)
    assert (head.loss_module.alpha, head.contrast.alpha) == (1.0, 1.0)


def test_alpha_acts_on_both_unless_one_sets_its_own():
    head = build(alpha=0.2)
    assert (head.loss_module.alpha, head.contrast.alpha) == (0.2, 0.2)
    assert build(alpha=0.2, gml=dict(alpha=0.7)).contrast.alpha == 0.7


def image_classifier(**head):
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='LeNet5'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='lt_mm.GMLClsHead', num_classes=4, in_channels=120, gml=GML | head),
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
    cfg = dict(type='lt_mm.CosineClsHead', num_classes=4, in_channels=120)
    plain = copy.deepcopy(model)
    plain.head = MODELS.build(cfg).eval()
    plain.head.load_state_dict(
        {name: value for name, value in model.head.state_dict().items() if name == 'fc.weight'},
        strict=False,
    )
    torch.testing.assert_close(model(images), plain(images))
    model.predict(images)
    assert not model.head.contrast.queue.filled.any()


def test_a_batch_of_one_image_and_a_class_without_images():
    head = build(counts=[90, 10, 0, 0])
    losses = head.loss((torch.randn(1, 5),), samples([3]))
    (losses['loss_cls'] + losses['loss_gml']).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(value.grad.isfinite().all() for value in head.parameters())
    assert head.contrast.queue.filled.tolist() == [0, 0, 0, 1]


def test_labels_counts_and_sizes_that_cannot_be():
    with pytest.raises(ValueError, match='label 4 reached GMLClsHead, which has 4 classes'):
        build().loss((torch.randn(2, 5),), samples([0, 4]))
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        build(counts=None).loss((torch.randn(2, 5),), samples([0, 1]))
    with pytest.raises(ValueError, match='3 classes but GMLLoss has 4'):
        build(counts=[1, 2, 3])
    with pytest.raises(ValueError, match='39'):
        build(gml=dict(size=39))


def test_nan_features_leave_the_queue_alone():
    head, features = build(), torch.randn(2, 5)
    features[0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match='GMLClsHead: its features are not finite'):
        head.loss((features,), samples([0, 1]))
    assert not head.contrast.queue.filled.any()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    features, labels = torch.randn(8, 5), samples(torch.arange(8) % 4)
    head = build()
    exact = copy.deepcopy(head).loss((features,), labels)
    with torch.autocast('cpu', dtype=dtype):
        losses = head.loss((features.to(dtype).requires_grad_(),), labels)
    (losses['loss_cls'] + losses['loss_gml']).backward()
    for name in ('loss_cls', 'loss_gml'):
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(losses[name], exact[name], rtol=0.1, atol=0.1)
    assert all(value.grad.isfinite().all() for value in head.parameters())
