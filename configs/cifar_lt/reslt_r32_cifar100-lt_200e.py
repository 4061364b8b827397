# ResLT on CIFAR-100-LT: 35 classes in the first group, 35 in the second, 30 in the third; a batch
# normalisation a branch. The public code is nesterov's, and warms up from a third, counted from 1.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(
    neck=None,
    head=dict(
        _delete_=True,
        type='lt_mm.ResLTClsHead',
        num_classes=100,
        in_channels=64,
        beta=0.995,
        branch='norm',
        groups=dict(sizes=(35, 35, 30)),
    ),
)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=5e-4, nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=7 / 15, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=128)
val_evaluator = test_evaluator = _base_.evaluators.calibrated
