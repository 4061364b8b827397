# Cross-entropy weighted by a power of the inverse pixel frequency (GRW).
_base_ = 'ce_fcn_r18_digits.py'
loss = dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=dict(type='inverse', power=0.5))
model = dict(decode_head=dict(loss_decode=dict(_delete_=True, **loss)))
