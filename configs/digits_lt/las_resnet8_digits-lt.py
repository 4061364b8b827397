# Label-aware smoothing alone, in one stage; the best of 0.02, 0.05 and 0.1 on the tuning split.
_base_ = 'ce_resnet8_digits-lt.py'
loss = dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.1, tail_smoothing=0.0)
model = dict(head=dict(loss=dict(_delete_=True, **loss)))
