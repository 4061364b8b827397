# Label-aware smoothing alone, in one stage.
_base_ = 'ce_fcn_r18_digits.py'
loss = dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.2, tail_smoothing=0.0)
model = dict(decode_head=dict(loss_decode=dict(_delete_=True, **loss)))
