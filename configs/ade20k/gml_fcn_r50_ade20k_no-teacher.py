# GML whose keys are the student's own detached features.
_base_ = 'ce_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(
        type='lt_mm.GMLFCNHead',
        alpha=0.2,
        temperature=0.05,
        gml=_base_.gml_settings,
        loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss'),
    ),
    auxiliary_head=_base_.auxiliary_cosine,
)
variants = dict(
    alpha1=dict(
        model=dict(decode_head=dict(alpha=1.0), auxiliary_head=dict(loss_decode=dict(alpha=1.0)))
    )
)
