# Balanced softmax: logit adjustment of strength 1 on the linear classifiers.
_base_ = 'ce_fcn_r50_ade20k.py'
loss_cls = dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=1.0)
model = dict(
    decode_head=dict(loss_decode=loss_cls),
    auxiliary_head=dict(loss_decode=dict(loss_cls, loss_weight=0.4)),
)
