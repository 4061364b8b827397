# GML on DeepLabV3+-R50, taught by mmsegmentation's published cross-entropy model of the same kind.
_base_ = [
    'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py',
    '../_base_/ade20k_long_tail.py',
]
model = dict(
    type='lt_mm.LongTailEncoderDecoder',
    teacher=dict(
        config='mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3plus/'
        'deeplabv3plus_r50-d8_512x512_160k_ade20k/'
        'deeplabv3plus_r50-d8_512x512_160k_ade20k_20200615_124504-6135c7e0.pth',
    ),
    decode_head=dict(type='lt_mm.GMLDepthwiseSeparableASPPHead', **_base_.gml),
    auxiliary_head=_base_.auxiliary_cosine,
)
val_evaluator = _base_.long_tail_evaluator
test_evaluator = val_evaluator
