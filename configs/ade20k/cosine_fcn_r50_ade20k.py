# Cosine classifiers trained with L_cls alone: GML without its contrastive part.
_base_ = 'ce_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(
        type='lt_mm.CosineFCNHead',
        temperature=0.05,
        loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=0.2),
    ),
    auxiliary_head=_base_.auxiliary_cosine,
)
variants = dict(
    alpha1=dict(
        model=dict(
            decode_head=dict(loss_decode=dict(alpha=1.0)),
            auxiliary_head=dict(loss_decode=dict(alpha=1.0)),
        )
    )
)
