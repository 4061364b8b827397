# GML on UPerNet-R50, taught by mmsegmentation's published cross-entropy model of the same kind.
_base_ = ['mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', '_base_/ade20k_runtime.py']
loss_cls = dict(_delete_=True, type='lt_mm.LogitAdjustedLoss')
model = dict(
    type='lt_mm.TeacherEncoderDecoder',
    teacher=dict(
        config='mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/upernet/'
        'upernet_r50_512x512_160k_ade20k/'
        'upernet_r50_512x512_160k_ade20k_20200615_184328-8534de8d.pth'),
    decode_head=dict(
        type='lt_mm.GMLUPerHead',
        alpha=0.2,
        gml=dict(size=8192, min_size=27, temperature=0.07, widths=(512, 256)),
        loss_decode=loss_cls),
    auxiliary_head=dict(
        type='lt_mm.CosineFCNHead', loss_decode=dict(loss_cls, alpha=0.2, loss_weight=0.4)))
