# Table 9, GML with alpha = 0.2; the teacher is mmsegmentation's published cross-entropy model.
_base_ = 'ade20k/gml_fcn_r50_ade20k_no-teacher.py'
model = dict(
    type='lt_mm.TeacherEncoderDecoder',
    teacher=dict(
        config='mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/fcn/'
        'fcn_r50-d8_512x512_160k_ade20k/'
        'fcn_r50-d8_512x512_160k_ade20k_20200615_100713-4edbc3b4.pth',
    ),
)
# Fig. 2, with alpha = 1 also in Table 9.
variants = {
    name: dict(
        model=dict(
            decode_head=dict(alpha=alpha), auxiliary_head=dict(loss_decode=dict(alpha=alpha))
        )
    )
    for name, alpha in dict(alpha0=0.0, alpha04=0.4, alpha06=0.6, alpha08=0.8, alpha1=1.0).items()
}
