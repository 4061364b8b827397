# Balanced softmax: logit adjustment of strength 1 on the plain linear classifier.
_base_ = 'ce_fcn_r18_digits.py'
model = dict(
    decode_head=dict(loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=1.0))
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
variants = dict(alpha02=dict(model=dict(decode_head=dict(loss_decode=dict(alpha=0.2)))))
