# Second stage of RIDE on ImageNet-LT, ResNeXt-50: routers, on balanced batches of 512 as 8 x 64.
_base_ = 'ride-routed_r50_imagenet-lt_5e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ride_x50_imagenet-lt_100e.py'))
model = dict(backbone=dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4)))
