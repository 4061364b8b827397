# GML whose keys are the student's own detached features, alpha = 1.
_base_ = 'gml_fcn_r50_ade20k_no-teacher.py'
model = dict(decode_head=dict(alpha=1.0), auxiliary_head=dict(loss_decode=dict(alpha=1.0)))
