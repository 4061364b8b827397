# Label-aware smoothing alone, in one stage.
_base_ = 'ce_resnet8_digits-lt.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='lt_mm.LabelAwareSmoothingLoss',
            head_smoothing=0.2,
            tail_smoothing=0.0)))
