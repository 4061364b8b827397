# NCL on CIFAR-100-LT with the settings of its public config without the contrastive branch: three
# whole networks.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/schedules/cifar_400e.py',
]
model = dict(
    backbone=dict(shared_stages=-1, width_factor=1.0),
    head=dict(
        in_channels=64,
        loss=dict(alpha=1.0),
        interplay=dict(type='lt_mm.HardCategoryLoss', num_hard=30, detach=False),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=2e-4, nesterov=True))
param_scheduler = [
    # From a third on, the whole rate after five epochs.
    dict(type='LinearLR', start_factor=1 / 3, begin=0, end=6),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
val_evaluator = test_evaluator = _base_.evaluators.experts
