# Table 8, ImageNet without distillation; training as in PyTorch's example, which CRD follows.
_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/imagenet_90e.py',
]
model = dict(
    backbone=dict(depth=18),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=1000, in_channels=512),
)
