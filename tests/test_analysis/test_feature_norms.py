import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEGMENTORS
from torch import nn

from lt_mm.analysis.feature_norms import FeatureNorms

HEAD = dict(in_channels=4, channels=6, num_classes=5, norm_cfg=dict(type='BN'))


def segmentor(head, **kwargs):
    init_default_scope('mmseg')
    backbone = dict(
        type='UNet', base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
        dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,),
    )  # fmt: skip
    return SEGMENTORS.build(
        ConfigDict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', test_cfg=dict(size_divisor=1)),
            backbone=backbone,
            decode_head=head,
            **kwargs,
        )
    ).eval()


def predict(model, height, width):
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(ori_shape=(height, width), img_shape=(height, width)))
    pixels = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return model.test_step(dict(inputs=[pixels], data_samples=[sample]))


def test_norms_of_a_whole_image_and_of_windows():
    head = dict(
        type='FCNHead', in_index=-1, num_convs=0, concat_input=False, **{**HEAD, 'channels': 4}
    )
    torch.manual_seed(0)
    seen = []
    whole = segmentor(head, test_cfg=dict(mode='whole'))
    norms = FeatureNorms(whole, whole.decode_head.conv_seg)
    assert norms.of_batch() is None
    whole.decode_head.conv_seg.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    predict(whole, 16, 24)
    naive = seen[0].square().sum(1).sqrt()
    torch.testing.assert_close(norms.of_batch(), naive)

    slide = segmentor(head, test_cfg=dict(mode='slide', crop_size=(16, 16), stride=(8, 8)))
    norms = FeatureNorms(slide, slide.decode_head.conv_seg)
    seen.clear()
    slide.decode_head.conv_seg.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    predict(slide, 16, 30)
    # Windows begin at 0, 8 and 14.
    total, times = torch.zeros(16, 30), torch.zeros(16, 30)
    for features, left in zip(seen, (0, 8, 14), strict=True):
        total[:, left : left + 16] += features[0].square().sum(0).sqrt()
        times[:, left : left + 16] += 1
    torch.testing.assert_close(norms.of_batch()[0], total / times)


def test_a_classifier_that_runs_twice_has_no_norms():
    model = nn.Module()
    model.data_preprocessor, layer = nn.Identity(), nn.Linear(3, 2)
    norms = FeatureNorms(model, layer)
    model.data_preprocessor(dict(inputs=torch.zeros(2, 3, 8, 8)))
    features = torch.randn(2, 3)
    layer(features)
    torch.testing.assert_close(norms.of_batch(), features.norm(dim=1))
    layer(features)
    assert norms.of_batch() is None
