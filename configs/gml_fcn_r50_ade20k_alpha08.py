# Fig. 2: GML with alpha = 0.8.
_base_ = 'gml_fcn_r50_ade20k.py'
model = dict(decode_head=dict(alpha=0.8), auxiliary_head=dict(loss_decode=dict(alpha=0.8)))
