# Table 6 of MiSLAS, CIFAR-100-LT, first stage: cross-entropy and mixup.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(
    head=dict(
        _delete_=True,
        type='LinearClsHead',
        num_classes=100,
        in_channels=64,
        loss=dict(type='CrossEntropyLoss', use_soft=True),
    ),
    train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)),
)
data_preprocessor = dict(num_classes=100)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=2e-4))
auto_scale_lr = dict(base_batch_size=128)
val_evaluator = test_evaluator = _base_.evaluators.calibrated
