# Balanced softmax: logit adjustment of strength 1 on the linear classifiers.
_base_ = 'ce_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(loss_decode=_base_.adjusted),
    auxiliary_head=dict(loss_decode=dict(_base_.adjusted, loss_weight=0.4)),
)
