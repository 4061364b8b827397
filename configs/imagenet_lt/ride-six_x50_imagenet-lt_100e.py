# RIDE of six experts on ImageNet-LT, ResNeXt-50, from which RIDE of four is distilled.
_base_ = 'ride_x50_imagenet-lt_100e.py'
model = dict(backbone=dict(num_experts=6), head=dict(experts=[dict()] * 6))
