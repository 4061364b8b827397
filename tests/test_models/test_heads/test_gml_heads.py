"""Every cosine and GML head builds from a config and learns; what L_GML of a head is made of."""

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from lt_mm.models.heads import GMLFCNHead
from lt_mm.structures import ClassCounts

NUM_CLASSES = 4
FOUR_LEVELS = dict(in_channels=[4, 8, 8, 8], in_index=[0, 1, 2, 3])
HEADS = {
    'FCNHead': dict(in_channels=8, in_index=3, num_convs=1, concat_input=False),
    'PSPHead': dict(in_channels=8, in_index=3, pool_scales=(1, 2)),
    'ASPPHead': dict(in_channels=8, in_index=3, dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': dict(
        in_channels=8, in_index=3, dilations=(1, 2), c1_in_channels=4, c1_channels=4
    ),
    'UPerHead': dict(**FOUR_LEVELS, pool_scales=(1, 2)),
    'SegformerHead': FOUR_LEVELS,
}
GML = dict(size=40, min_size=2, widths=(8, 6))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def build(head, **kwargs):
    cfg = dict(
        type=f'lt_mm.{head}',
        channels=8,
        num_classes=NUM_CLASSES,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        **kwargs,
    )
    module = MODELS.build(cfg)
    module.init_weights()
    for part in module.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([50, 30, 15, 5]))
    return revert_sync_batchnorm(module).train()


def batch(size=16, ignored=()):
    """Two images: four feature levels at strides 1, 2, 4, 4 and labels with ignored pixels."""
    shapes = [(4, size), (8, size // 2), (8, size // 4), (8, size // 4)]
    inputs = [torch.randn(2, channels, side, side) for channels, side in shapes]
    samples = []
    for index in range(2):
        labels = torch.randint(NUM_CLASSES, (1, size, size))
        labels[:, : size // 4] = 255
        if index in ignored:
            labels[:] = 255
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    return inputs, samples


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('kind', ['Cosine', 'GML'])
def test_builds_from_a_config_and_trains_two_iterations(kind, head):
    extra = (
        dict(alpha=0.2, gml=GML)
        if kind == 'GML'
        else dict(loss_decode=dict(type='lt_mm.LogitAdjustedLoss'))
    )
    module = build(f'{kind}{head}', **HEADS[head], **extra)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in module.named_parameters()}
    for _ in range(2):
        losses = module.loss(*batch(), train_cfg={})
        assert set(losses) >= {'loss_cls', 'acc_seg'}
        assert ('loss_gml' in losses) == (kind == 'GML')
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()
    for name, value in module.named_parameters():
        assert value.isfinite().all(), name
        assert not torch.equal(value, before[name]), f'{name} was not trained'


@pytest.mark.parametrize('head', HEADS)
def test_queries_are_what_the_classifier_sees(head):
    """The tapped tensor, classified without dropout, gives the logits of an evaluation."""
    module = build(f'GML{head}', **HEADS[head], gml=GML, dropout_ratio=0.5)
    inputs, _ = batch()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0
            part.eval()
    module.forward(inputs)
    tapped = module._features
    assert tapped.shape[1] == module.channels
    module.eval()
    torch.testing.assert_close(module.conv_seg(tapped), module.forward(inputs))


def test_loss_gml_restated():
    """Rows, keys, eq. 3 and eq. 11 by hand, with a queue that holds every key."""
    module = build(
        'GMLFCNHead',
        **HEADS['FCNHead'],
        alpha=0.3,
        keys_per_class=10**6,
        gml=dict(GML, size=400, min_size=100),
    )
    inputs, samples = batch()
    features = torch.randn(2, 8, 4, 4)
    module._features = features
    loss = module.loss_by_feat(torch.randn(2, NUM_CLASSES, 4, 4), samples)['loss_gml']

    labels = torch.stack([sample.gt_sem_seg.data[0, ::4, ::4] for sample in samples]).flatten()
    rows = features.permute(0, 2, 3, 1).reshape(-1, 8)[labels != 255]
    labels = labels[labels != 255]
    assert 0 < len(labels) < 32
    queries, keys = module.gml.query_mlp(rows).double(), module.gml.key_mlp(rows.half()).double()
    prior = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    total = 0.0
    for query, label in zip(queries, labels, strict=True):
        scores = []
        for c in range(NUM_CLASSES):
            mean = (keys[labels == c] @ query / 0.07).exp().mean()
            scores.append(mean.log() + 0.3 * prior[c].log())
        total += -(scores[label] - torch.stack(scores).logsumexp(0))
    torch.testing.assert_close(loss.double(), total / len(labels), rtol=1e-5, atol=1e-5)


def test_teacher_keys_replace_the_own_ones_only_inside_the_context():
    module = build('GMLFCNHead', **HEADS['FCNHead'], gml=GML)
    inputs, samples = batch()
    teacher = torch.full((2, 8, 8, 8), 3.0)
    with module.keys_from(teacher):
        module.loss(inputs, samples, train_cfg={})
    assert (module.gml.queue.keys().features == 3.0).all()
    filled = int(module.gml.queue.filled.sum())
    module.loss(inputs, samples, train_cfg={})
    assert not (module.gml.queue.keys().features == 3.0).all()
    assert filled > 0


def test_at_most_keys_per_class_enter_the_queue():
    module = build('GMLFCNHead', **HEADS['FCNHead'], gml=dict(GML, size=400), keys_per_class=1)
    module.loss(*batch(), train_cfg={})
    assert module.gml.queue.filled.max() <= 2  # one from each image


@pytest.mark.parametrize('ignored', [(0,), (0, 1)])
def test_ignored_images_give_a_finite_loss_and_gradients(ignored):
    module = build('GMLFCNHead', **HEADS['FCNHead'], gml=GML)
    losses = module.loss(*batch(ignored=ignored), train_cfg={})
    (losses['loss_gml'] + losses['loss_cls']).backward()
    if len(ignored) == 2:
        assert losses['loss_gml'] == 0 and losses['loss_cls'] == 0
    for name, value in module.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), name


def test_alpha_acts_on_both_losses_unless_one_sets_its_own():
    module = build('GMLFCNHead', **HEADS['FCNHead'], alpha=0.2, gml=GML)
    assert (module.gml.alpha, module.loss_decode.alpha) == (0.2, 0.2)
    module = build(
        'GMLFCNHead',
        **HEADS['FCNHead'],
        alpha=0.2,
        gml=dict(GML, alpha=0.7),
        loss_decode=[dict(type='lt_mm.LogitAdjustedLoss', alpha=0.5)],
    )
    assert (module.gml.alpha, module.loss_decode[0].alpha) == (0.7, 0.5)
    with pytest.warns(UserWarning, match='alpha=0.2 does not act on the loss_decode'):
        build(
            'GMLFCNHead',
            **HEADS['FCNHead'],
            alpha=0.2,
            gml=GML,
            loss_decode=dict(type='CrossEntropyLoss'),
        )


def test_linear_classifier_by_argument():
    module = build('GMLFCNHead', **HEADS['FCNHead'], classifier='linear', gml=GML)
    assert isinstance(module.conv_seg, torch.nn.Conv2d)
    with pytest.raises(ValueError, match="use 'cosine' or 'linear'"):
        build('GMLFCNHead', **HEADS['FCNHead'], classifier='round', gml=GML)


def test_inference_is_the_classifier_alone():
    module = build('GMLFCNHead', **HEADS['FCNHead'], gml=GML, temperature=0.1).eval()
    inputs, _ = batch()
    logits = module.forward(inputs)
    features = module._forward_feature(inputs)
    weight = F.normalize(module.conv_seg.weight, dim=1)
    expected = torch.einsum('ndhw,cd->nchw', F.normalize(features, dim=1), weight) / 0.1
    torch.testing.assert_close(logits, expected)
    assert module._features is None


def test_without_class_counts_the_hook_is_named():
    module = GMLFCNHead(
        in_channels=8,
        channels=8,
        num_classes=4,
        num_convs=1,
        concat_input=False,
        in_index=3,
        gml=GML,
    )
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        module.loss(*batch(), train_cfg={})


def test_one_output_channel_is_refused():
    with pytest.raises(ValueError, match='out_channels=1 for 2 classes'):
        GMLFCNHead(in_channels=8, channels=8, num_classes=2, out_channels=1, threshold=0.5)
