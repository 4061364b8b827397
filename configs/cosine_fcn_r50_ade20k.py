# Cosine classifiers trained with L_cls alone: GML without its contrastive part.
_base_ = 'ce_fcn_r50_ade20k.py'
loss_cls = dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=0.2)
model = dict(
    decode_head=dict(type='lt_mm.CosineFCNHead', temperature=0.05, loss_decode=loss_cls),
    auxiliary_head=dict(
        type='lt_mm.CosineFCNHead',
        temperature=0.05,
        loss_decode=dict(loss_cls, loss_weight=0.4)))
