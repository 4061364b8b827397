# Table 3: the teacher ResNet-56, trained with L_cls like its students (sections 3.3 and 4.2).
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(backbone=dict(depth=56))
