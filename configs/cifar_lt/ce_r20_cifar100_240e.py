# Table 8, CIFAR-100 without distillation: CRD's baseline.
_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_240e.py',
]
model = dict(
    backbone=dict(depth=20, shortcut='B'),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=100, in_channels=64),
)
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.crop))
