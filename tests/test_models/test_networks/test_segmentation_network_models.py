"""Whole models of mmsegmentation, whose decode head a LongTailHead takes the place of."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from segmentors import changed

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

BN = dict(type='BN')
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
OHEM = dict(type='OhemCrossEntropy', min_kept=20)
MODELS_OF_MMSEG = {
    'UNet': (
        dict(
            type='UNet', base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
            dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,),
            norm_cfg=BN,
        ),
        dict(type='FCNHead', in_channels=4, num_convs=1, concat_input=False, in_index=-1),
    ),
    'DDRNet': (
        dict(
            type='DDRNet', in_channels=3, channels=4, ppm_channels=4, norm_cfg=BN,
            align_corners=False,
        ),
        dict(type='DDRHead', in_channels=16, loss_decode=[OHEM, OHEM]),
    ),
    'PIDNet': (
        dict(
            type='PIDNet', in_channels=3, channels=4, ppm_channels=4, num_stem_blocks=1,
            num_branch_blocks=1, norm_cfg=BN, align_corners=False,
        ),
        dict(
            type='PIDHead', in_channels=16,
            loss_decode=[dict(type='CrossEntropyLoss'), OHEM, dict(type='BoundaryLoss'), OHEM],
        ),
    ),
    'SegNeXt': (
        dict(
            type='MSCAN', embed_dims=[4, 8, 8, 8], mlp_ratios=[2] * 4, depths=[1] * 4, norm_cfg=BN,
            attention_kernel_paddings=[2, [0, 3], [0, 5], [0, 10]],
            attention_kernel_sizes=[5, [1, 7], [1, 11], [1, 21]],
        ),
        dict(
            type='LightHamHead', in_channels=[8, 8, 8], in_index=[1, 2, 3], ham_channels=8,
            ham_kwargs=dict(MD_R=4),
        ),
    ),
}  # fmt: skip
OPTIONS = dict(
    classifier='cosine', alpha=0.5, alignment=dict(type='lt_mm.DisAlign'),
    contrast=dict(type='lt_mm.GMLLoss', size=40, min_size=4, widths=(6,)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def build(name, kind='EncoderDecoder', **options):
    backbone, head = MODELS_OF_MMSEG[name]
    head = dict(head, channels=6, num_classes=4, norm_cfg=BN, align_corners=False)
    if options:
        losses = head.get('loss_decode', [None])
        adjusted = [one if one and 'Boundary' in one['type'] else ADJUSTED for one in losses]
        head |= dict(type='lt_mm.LongTailHead', base=head['type'], loss_decode=adjusted, **options)
    preprocessor = dict(type='SegDataPreProcessor', size=(64, 64))
    cfg = dict(
        type=kind, data_preprocessor=preprocessor, backbone=backbone, decode_head=head,
        test_cfg=ConfigDict(mode='whole'),
    )  # fmt: skip
    model = revert_sync_batchnorm(MODELS.build(changed(cfg)))
    set_class_counts(model, ClassCounts([50, 30, 15, 5]))
    return model.train()


def batch():
    labels = torch.randint(4, (2, 1, 64, 64))
    labels[:, :, :16] = 255
    metas = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64))
    return torch.randn(2, 3, 64, 64), [
        SegDataSample(
            gt_sem_seg=PixelData(data=one),
            gt_edge_map=PixelData(data=(one == 1).long()),
            metainfo=dict(metas, img_path=f'{index}.png'),
        )
        for index, one in enumerate(labels)
    ]


@pytest.mark.parametrize('kind', ['EncoderDecoder', 'lt_mm.LongTailEncoderDecoder'])
@pytest.mark.parametrize('name', MODELS_OF_MMSEG)
def test_it_trains_and_predicts(name, kind):
    model = build(name, kind, **OPTIONS)
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, samples = batch()
    for _ in range(2):
        losses = model(inputs, samples, mode='loss')
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert total.isfinite() and losses['decode.loss_gml'] > 0
    assert all(one.isfinite().all() for one in model.parameters())
    with torch.no_grad():
        results = model.eval()(inputs, samples, mode='predict')
    assert results[0].pred_sem_seg.data.shape == (1, 64, 64)
    assert results[0].seg_logits.data.isfinite().all()


@pytest.mark.parametrize('name', MODELS_OF_MMSEG)
def test_a_checkpoint_of_the_plain_model_predicts_the_same(name):
    plain = build(name).eval()
    options = dict(OPTIONS, classifier='linear')
    model = build(name, 'lt_mm.LongTailEncoderDecoder', **options).eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    added = ('decode_head.alignment.', 'decode_head.contrast.', 'decode_head.loss_decode.')
    assert not unexpected and all(name.startswith(added) for name in missing)
    results = []
    for one in (plain, model):
        torch.manual_seed(0)  # LightHamHead draws
        results.append(one(batch()[0], mode='tensor'))
    torch.testing.assert_close(*results)


SHIPPED = [
    'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py',
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
]


@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('path', SHIPPED)
def test_shipped_models_whose_heads_take_other_maps_in_training(path, frozen):
    """With half of their hard example mining (its thresh is 0.9) made a logit adjustment."""
    init_default_scope('mmseg')
    cfg = get_config(f'mmseg::{path}').model
    head = cfg['decode_head']
    losses = [*head['loss_decode']]
    adjusted = next(i for i, loss in enumerate(losses) if loss['type'] == 'OhemCrossEntropy')
    losses[adjusted] = ADJUSTED
    cfg['decode_head'] = dict(
        head,
        type='lt_mm.LongTailHead',
        base=head['type'],
        classifier='cosine',
        loss_decode=losses,
        contrast=dict(type='lt_mm.GMLLoss', size=40, min_size=2, widths=(6,)),
    )
    cfg['backbone']['init_cfg'] = None
    cfg['data_preprocessor']['size'] = (64, 64)
    cfg.update(type='lt_mm.LongTailEncoderDecoder', freeze_encoder=frozen)
    model = revert_sync_batchnorm(MODELS.build(cfg))
    set_class_counts(model, ClassCounts([*range(1, 20)]))
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    inputs, samples = batch()
    total, logged = model.parse_losses(model.train()(inputs, samples, mode='loss'))
    total.backward()
    assert total.isfinite() and logged['decode.loss_gml'] > 0
    assert model.decode_head.conv_seg.weight.grad.any()
    has_moved = [not torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items()]
    has_gradient = [one.grad is not None for one in model.backbone.parameters()]
    assert any(has_moved) == any(has_gradient) == (not frozen)
    result = model.eval()(inputs, samples, mode='predict')[0]
    assert result.seg_logits.data.isfinite().all()


@pytest.mark.parametrize('base, wanted', [('PIDHead', 'PIDNet'), ('DDRHead', 'DDRNet')])
def test_a_backbone_that_gives_such_a_head_other_maps(base, wanted):
    _, head = MODELS_OF_MMSEG[wanted]
    head = dict(
        head, type='lt_mm.LongTailHead', base=base, channels=6, num_classes=4, norm_cfg=BN,
        classifier='cosine',
    )  # fmt: skip
    head = MODELS.build(head)
    maps = torch.randn(4, 2, 16, 8, 8).unbind()
    for mode, given in ((True, maps), (True, maps[0]), (True, [*maps[:1]]), (False, maps)):
        with pytest.raises(ValueError, match=f"LongTail{base} takes .* use backbone=.*'{wanted}'"):
            head.train(mode)(given)
