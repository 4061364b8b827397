# Table 8, CIFAR-100: the teacher.
_base_ = 'ce_r20_cifar100_240e.py'
model = dict(backbone=dict(depth=56))
