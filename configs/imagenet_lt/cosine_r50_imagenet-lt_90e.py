# Table 6: the teacher ResNet-50.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/imagenet_lt_90e.py',
]
