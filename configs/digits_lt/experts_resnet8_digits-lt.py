# Three experts of 3/4 of the width, each trained by cross-entropy and blind to the others; the
# prior is taken off at the test. What the methods with experts build on.
_base_ = 'ce_resnet8_digits-lt.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='lt_mm.MultiExpertResNet',
        backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8),
        num_experts=3,
        shared_stages=1,
        width_factor=0.75,
    ),
    neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
    head=dict(
        type='lt_mm.MultiExpertClsHead',
        in_channels=48,
        num_experts=3,
        post_compensation=dict(),
        expert_predictions=True,
    ),
)
val_evaluator = [
    dict(type='lt_mm.ExpertAccuracy', groups=_base_.groups),
    dict(type='lt_mm.CalibrationError', groups=_base_.groups),
]
test_evaluator = val_evaluator
