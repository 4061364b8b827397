# Table 9 and Fig. 2: GML with alpha = 1.
_base_ = 'gml_fcn_r50_ade20k.py'
model = dict(decode_head=dict(alpha=1), auxiliary_head=dict(loss_decode=dict(alpha=1)))
