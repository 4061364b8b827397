# Second stage of RIDE of four experts on ImageNet-LT, ResNeXt-50, after distillation.
_base_ = 'ride-routed_x50_imagenet-lt_5e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ride-kd_x50_imagenet-lt_100e.py'))
model = dict(backbone=dict(num_experts=4), head=dict(experts=[dict()] * 4))
