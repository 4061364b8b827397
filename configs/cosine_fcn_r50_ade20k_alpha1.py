# Cosine classifiers trained with L_cls alone, alpha = 1.
_base_ = 'cosine_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(loss_decode=dict(alpha=1.0)), auxiliary_head=dict(loss_decode=dict(alpha=1.0))
)
