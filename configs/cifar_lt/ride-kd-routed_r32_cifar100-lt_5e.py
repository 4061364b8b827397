# Second stage of RIDE on CIFAR-100-LT after distillation.
_base_ = 'ride-routed_r32_cifar100-lt_5e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ride-kd_r32_cifar100-lt_200e.py'))
