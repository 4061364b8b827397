# Table 7: cross-entropy, as SupCon's public code trains it. Batch 1024 as 8 x 128.
_base_ = [
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet50_cifar10.py',
    '../_base_/schedules/supcon_500e.py',
]
model = dict(head=dict(_delete_=True, type='LinearClsHead', num_classes=10, in_channels=2048))
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.resized_crop))
