# RIDE on ImageNet-LT, ResNeXt-50, with the settings of its public configs.
_base_ = 'ride_r50_imagenet-lt_100e.py'
model = dict(backbone=dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4)))
