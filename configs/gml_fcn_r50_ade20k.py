# Table 9, GML with alpha = 0.2; the teacher is mmsegmentation's published cross-entropy model.
_base_ = 'ade20k/gml_fcn_r50_ade20k_no-teacher.py'
model = dict(
    type='lt_mm.LongTailEncoderDecoder',
    teacher=dict(
        config='mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/fcn/'
        'fcn_r50-d8_512x512_160k_ade20k/'
        'fcn_r50-d8_512x512_160k_ade20k_20200615_100713-4edbc3b4.pth',
    ),
)
# Fig. 2; alpha = 1 is in Table 9, too.
variants = dict(
    alpha0=dict(model=dict(decode_head=dict(alpha=0.0))),
    alpha04=dict(model=dict(decode_head=dict(alpha=0.4))),
    alpha06=dict(model=dict(decode_head=dict(alpha=0.6))),
    alpha08=dict(model=dict(decode_head=dict(alpha=0.8))),
    alpha1=dict(model=dict(decode_head=dict(alpha=1.0))),
)
