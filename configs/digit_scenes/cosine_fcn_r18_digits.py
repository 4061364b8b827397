# Cosine classifier trained with L_cls alone (eq. 7).
_base_ = 'ce_fcn_r18_digits.py'
model = dict(
    decode_head=dict(
        type='lt_mm.CosineFCNHead',
        alpha=0.2,
        classifier_temperature=0.05,
        loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss'),
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
variants = dict(alpha1=dict(model=dict(decode_head=dict(alpha=1.0))))
