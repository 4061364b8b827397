# Table 3: balanced softmax as PaCo's paper, where the number comes from, trains it: like PaCo, with
# AutoAugment and Cutout.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_400e.py',
]
model = dict(
    head=dict(
        _delete_=True,
        type='LinearClsHead',
        num_classes=100,
        in_channels=64,
        loss=dict(type='lt_mm.LogitAdjustedLoss'),
    )
)
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=128)
