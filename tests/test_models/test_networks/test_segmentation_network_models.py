"""Whole models of mmsegmentation, whose decode head a LongTailHead takes the place of."""

import pytest
import torch
from mmengine.config import ConfigDict
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
