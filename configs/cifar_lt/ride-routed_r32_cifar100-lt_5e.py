# Second stage of RIDE on CIFAR-100-LT: routers, on balanced batches of 512.
_base_ = 'ride_r32_cifar100-lt_200e.py'
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ride_r32_cifar100-lt_200e.py', gives='weights')
)
model = dict(
    type='lt_mm.RoutedClassifier',
    head=dict(
        type='lt_mm.RoutedClsHead',
        routers=dict(top_k=30),
        pos_weight=100.0,
        expert_predictions=False,
    ),
)
train_dataloader = dict(
    batch_size=512, sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler')
)
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=5)]
train_cfg = dict(max_epochs=5, val_interval=1)
auto_scale_lr = dict(base_batch_size=512)
custom_hooks = [dict(type='lt_mm.ClassCountsHook'), dict(type='lt_mm.RandomStateHook')]
val_evaluator = [
    dict(type='lt_mm.LongTailAccuracy'),
    dict(type='lt_mm.CalibrationError'),
    dict(type='lt_mm.ExpertUsage'),
]
test_evaluator = val_evaluator
