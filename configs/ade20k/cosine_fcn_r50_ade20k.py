# Cosine classifiers trained with L_cls alone: GML without its contrastive part.
_base_ = 'ce_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(type='lt_mm.CosineFCNHead', **_base_.cosine),
    auxiliary_head=_base_.auxiliary_cosine,
)
variants = dict(alpha1=dict(model=dict(decode_head=dict(alpha=1.0))))
