# Table 8, CIFAR-100-LT: the teacher.
_base_ = 'cosine_r20_cifar100-lt_240e.py'
model = dict(backbone=dict(depth=56))
