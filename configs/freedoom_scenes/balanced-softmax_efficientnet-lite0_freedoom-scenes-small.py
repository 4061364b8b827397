# Balanced softmax: logit adjustment of strength 1.
_base_ = 'ce_efficientnet-lite0_freedoom-scenes-small.py'
model = dict(
    decode_head=dict(loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=1.0))
)
variants = dict(
    alpha02=dict(model=dict(decode_head=dict(loss_decode=dict(alpha=0.2)))),
    alpha05=dict(model=dict(decode_head=dict(loss_decode=dict(alpha=0.5)))),
)
