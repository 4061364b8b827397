"""LongTailEncoderDecoder in a second stage: which parts stay, and which statistics move."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

NORM = dict(type='BN')
HEAD = dict(
    type='FCNHead', in_channels=8, in_index=0, channels=8, num_classes=4, num_convs=1,
    concat_input=False, norm_cfg=NORM, align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
)  # fmt: skip
MODEL = dict(
    type='lt_mm.LongTailEncoderDecoder',
    freeze_encoder=True,
    backbone=dict(
        type='ResNetV1c', depth=18, base_channels=4, stem_channels=4, norm_cfg=NORM, init_cfg=None
    ),
    neck=dict(
        type='FPN', in_channels=[4, 8, 16, 32], out_channels=8, num_outs=4, norm_cfg=NORM
    ),
    decode_head=dict(HEAD, type='lt_mm.LongTailHead', base='FCNHead'),
)  # fmt: skip
DISALIGN = dict(alignment=dict(type='lt_mm.DisAlign'), freeze_classifier=True)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def build(head=(), counts=None, **changes):
    cfg = copy.deepcopy({**MODEL, **changes})
    cfg['decode_head'] = cfg['decode_head'] | dict(head)
    if cfg['decode_head']['type'] != 'lt_mm.LongTailHead':
        del cfg['decode_head']['base']
    model = MODELS.build(cfg)
    if counts is not None:
        set_class_counts(model, ClassCounts(counts))
    return model.train()


def train(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    labels = torch.randint(4, (2, 1, 32, 32))
    labels[:, :, :4] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]
    for _ in range(2):
        losses = model(torch.randn(2, 3, 32, 32), samples, mode='loss')
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    after = model.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def buffers(model, part):
    return {name for name, _ in model.named_buffers() if name.startswith(part)}


@pytest.mark.parametrize('policy', ['eval', 'statistics'])
@pytest.mark.parametrize('freeze_decode_head', [False, True])
@pytest.mark.parametrize('head', [(), DISALIGN])
def test_what_moves(policy, freeze_decode_head, head):
    model = build(head, frozen_batch_norm=policy, freeze_decode_head=freeze_decode_head)
    classifier = 'decode_head.alignment' if head else 'decode_head.conv_seg'
    expected = {name for name, _ in model.named_parameters() if name.startswith(classifier)}
    if not freeze_decode_head:
        # All four levels of the neck reach the head; one is used.
        expected |= {n for n, _ in model.named_parameters() if n.startswith('decode_head.convs')}
        expected |= buffers(model, 'decode_head.convs')
    if policy == 'statistics':
        expected |= buffers(model, 'backbone') | buffers(model, 'neck')
        expected |= buffers(model, 'decode_head.convs')
    assert train(model) == expected


def test_a_contrast_moves_its_embeddings_and_a_classifier_that_it_compares_with():
    contrast = dict(type='lt_mm.BCLLoss', widths=(5,))
    model = build(dict(contrast=contrast), freeze_decode_head=True)
    parts = ('decode_head.conv_seg', 'decode_head.contrast')
    assert train(model) == {name for name, _ in model.named_parameters() if name.startswith(parts)}


def test_a_frozen_head_keeps_the_dropout_of_its_classifier():
    model = build(freeze_decode_head=True)
    assert model.decode_head.dropout.training and not model.decode_head.convs.training
    assert not model.eval().decode_head.dropout.training


def test_parameters_that_are_the_head_s_own_are_frozen_too():
    class WithParameter(MODELS.get('FCNHead')):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.token = nn.Parameter(torch.zeros(3))

    MODELS.register_module(name='WithParameter', module=WithParameter, force=True)
    for frozen in (False, True):
        model = build(dict(type='WithParameter'), freeze_decode_head=frozen)
        assert model.decode_head.token.requires_grad is not frozen


def test_predictions_are_those_of_the_plain_segmentor():
    plain = build(dict(type='FCNHead'), freeze_encoder=False).eval()
    model = build(DISALIGN, freeze_decode_head=True).eval()
    loaded = model.load_state_dict(plain.state_dict(), strict=False)
    assert all('.alignment.' in name for name in loaded.missing_keys)
    inputs = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(inputs), plain(inputs))


def test_bad_input():
    auxiliary = HEAD
    with pytest.raises(ValueError, match='nothing to teach.*set model.auxiliary_head=None'):
        build(auxiliary_head=auxiliary)
    assert build(auxiliary_head=auxiliary, freeze_encoder=False).with_auxiliary_head
    with pytest.raises(ValueError, match='freeze_decode_head of LongTailEncoderDecoder needs'):
        build(freeze_decode_head=True, freeze_encoder=False)
    with pytest.raises(ValueError, match="frozen_batch_norm of LongTailEncoderDecoder is 'x'"):
        build(frozen_batch_norm='x')
    with pytest.raises(ValueError, match='key_momentum of LongTailEncoderDecoder is 0.9, but '):
        build(key_momentum=0.9)

    class WithoutClassifier(MODELS.get('FCNHead')):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            del self.conv_seg

    MODELS.register_module(name='WithoutClassifier', module=WithoutClassifier, force=True)
    with pytest.raises(ValueError, match='decode head WithoutClassifier has no conv_seg'):
        build(dict(type='WithoutClassifier'), freeze_decode_head=True)
