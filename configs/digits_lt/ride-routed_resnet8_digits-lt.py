# RIDE's second stage: routers learn, on balanced batches, how many of the frozen experts an image
# asks. The first is RIDE as it is, all 100 epochs of it, since routers teach the experts nothing.
_base_ = 'ride_resnet8_digits-lt.py'
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ride_resnet8_digits-lt.py', gives='weights')
)
model = dict(
    type='lt_mm.RoutedClassifier',
    head=dict(
        type='lt_mm.RoutedClsHead',
        routers=dict(top_k=5),
        pos_weight=100.0,
        expert_predictions=False,
    ),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler'))
param_scheduler = [dict(type='CosineAnnealingLR', end=20, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=20, val_interval=20)
custom_hooks = [dict(type='lt_mm.ClassCountsHook'), dict(type='lt_mm.RandomStateHook')]
val_evaluator = [
    dict(type='lt_mm.LongTailAccuracy', groups=_base_.groups),
    dict(type='lt_mm.CalibrationError', groups=_base_.groups),
    dict(type='lt_mm.ExpertUsage'),
]
test_evaluator = val_evaluator
