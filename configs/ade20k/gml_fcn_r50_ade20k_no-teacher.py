# GML whose keys are the student's own detached features.
_base_ = 'ce_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(type='lt_mm.GMLFCNHead', **_base_.gml), auxiliary_head=_base_.auxiliary_cosine
)
variants = dict(alpha1=dict(model=dict(decode_head=dict(alpha=1.0))))
