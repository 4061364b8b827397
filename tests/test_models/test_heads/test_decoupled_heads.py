"""Decoupled decode heads: every one builds and trains; classifiers are those of classification."""

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from lt_mm.models.heads import DecoupledDecodeHeadMixin, GMLFCNHead
from lt_mm.models.layers import CosineConv2d
from lt_mm.structures import ClassCounts

LEVELS = dict(in_channels=[4, 8, 8, 8], in_index=[0, 1, 2, 3])
LAST = dict(in_channels=8, in_index=3)
HEADS = {
    'FCNHead': dict(**LAST, num_convs=1, concat_input=False),
    'PSPHead': dict(**LAST, pool_scales=(1, 2)),
    'ASPPHead': dict(**LAST, dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': dict(**LAST, dilations=(1, 2), c1_in_channels=4, c1_channels=4),
    'UPerHead': dict(**LEVELS, pool_scales=(1, 2)),
    'SegformerHead': LEVELS,
}
DISALIGN = dict(type='lt_mm.DisAlign')
LWS = dict(type='lt_mm.LearnableWeightScaling')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def build(head='FCNHead', kind='lt_mm.Decoupled', **changes):
    cfg = dict(
        type=f'{kind}{head}', channels=8, num_classes=4, norm_cfg=dict(type='BN'),
        align_corners=False, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )  # fmt: skip
    module = MODELS.build(cfg | HEADS[head] | changes)
    module.init_weights()
    return revert_sync_batchnorm(module).train()


def batch(size=16):
    shapes = [(4, size), (8, size // 2), (8, size // 4), (8, size // 4)]
    inputs = [torch.randn(2, channels, side, side) for channels, side in shapes]
    labels = torch.randint(4, (2, 1, size, size))
    labels[:, :, : size // 4] = 255
    return inputs, [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]


def step(head, data):
    losses = head.loss(*data, train_cfg={})
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return {name for name, value in head.named_parameters() if value.grad is not None}


@pytest.mark.parametrize('head', HEADS)
def test_every_head_starts_as_the_plain_one_and_trains(head):
    plain = build(head, '').eval()
    decoupled = build(head, alignment=DISALIGN, freeze_classifier=True).eval()
    decoupled.load_state_dict(plain.state_dict(), strict=False)
    data = batch()
    torch.testing.assert_close(decoupled(data[0]), plain(data[0]))
    moved = step(decoupled.train(), data)
    expected = {name for name, _ in decoupled.named_parameters() if 'conv_seg' not in name}
    assert moved == expected


def test_tau_norm_and_compensation_at_test_time_only():
    changes = dict(
        classifier=dict(type='lt_mm.TauNormConv2d', tau=1.0),
        post_compensation=dict(class_counts=[40, 30, 20, 10], alpha=0.5),
        dropout_ratio=0,
    )
    head, plain = build(**changes), build(kind='', dropout_ratio=0)
    head.load_state_dict(plain.state_dict(), strict=False)
    features = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(head.cls_seg(features), plain.cls_seg(features))
    unit = F.normalize(plain.conv_seg.weight, dim=1)
    prior = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().reshape(1, 4, 1, 1)
    expected = F.conv2d(features, unit) - 0.5 * prior
    torch.testing.assert_close(head.eval().cls_seg(features), expected)


def test_compensation_commutes_with_upsampling():
    head = build(post_compensation=dict(class_counts=[40, 30, 20, 10])).eval()
    data = batch()
    metas = [dict(img_shape=(16, 16), pad_shape=(16, 16))] * 2
    compensated = head.predict(data[0], metas, None)
    post, head.post_compensation = head.post_compensation, None
    torch.testing.assert_close(compensated, post(head.predict(data[0], metas, None)))


def test_the_alignment_sees_the_features_before_dropout():
    head, seen = build(alignment=DISALIGN, dropout_ratio=0.9), []
    head.alignment.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    features = torch.randn(2, 8, 5, 5)
    head.cls_seg(features)
    assert seen[0] is features


def test_scaled_cosine_classifier():
    head = build(classifier='cosine', temperature=0.1, alignment=LWS)
    assert isinstance(head.conv_seg, CosineConv2d) and head.conv_seg.temperature == 0.1
    assert build(classifier='cosine').conv_seg.temperature == 0.05
    assert {'conv_seg.weight', 'alignment.scale'} <= step(head, batch())


def test_the_mixin_fits_a_gml_head():
    class Compensated(DecoupledDecodeHeadMixin, GMLFCNHead):
        pass

    head = Compensated(
        channels=8, num_classes=4, align_corners=False, **HEADS['FCNHead'],
        gml=dict(size=40, min_size=2, widths=(8, 6)), post_compensation=dict(),
    )  # fmt: skip
    for part in head.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([50, 30, 15, 5]))
    assert isinstance(head.conv_seg, CosineConv2d)
    assert 'conv_seg.weight' in step(head, batch())
    features = torch.randn(2, 8, 5, 5)
    shift = head.eval().cls_seg(features) - head.conv_seg(features)
    prior = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().reshape(1, 4, 1, 1)
    torch.testing.assert_close(shift, (-prior).expand_as(shift), rtol=1e-4, atol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match='out_channels=1 for 2 classes, but needs one output'):
        build(num_classes=2, out_channels=1, threshold=0.3)
    with pytest.raises(ValueError, match='freeze_classifier of DecoupledFCNHead leaves nothing'):
        build(freeze_classifier=True)
    with pytest.raises(ValueError, match="classifier of DecoupledFCNHead is 'round'"):
        build(classifier='round')
