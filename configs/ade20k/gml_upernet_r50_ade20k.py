# GML on UPerNet-R50, taught by mmsegmentation's published cross-entropy model of the same kind.
_base_ = ['mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', '../_base_/ade20k_long_tail.py']
model = dict(
    type='lt_mm.LongTailEncoderDecoder',
    teacher=dict(
        config='mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/upernet/'
        'upernet_r50_512x512_160k_ade20k/'
        'upernet_r50_512x512_160k_ade20k_20200615_184328-8534de8d.pth',
    ),
    decode_head=dict(type='lt_mm.GMLUPerHead', **_base_.gml),
    auxiliary_head=_base_.auxiliary_cosine,
)
val_evaluator = _base_.long_tail_evaluator
test_evaluator = val_evaluator
