# Fig. 2: GML with alpha = 0.
_base_ = 'gml_fcn_r50_ade20k.py'
model = dict(decode_head=dict(alpha=0), auxiliary_head=dict(loss_decode=dict(alpha=0)))
