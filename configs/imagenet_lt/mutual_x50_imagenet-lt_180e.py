# Table A1 of Mutual Learning for Long-Tailed Recognition, ImageNet-LT, ResNeXt-50: batch 64 as
# 2 x 32. The loss is a reconstruction.
_base_ = 'mutual_r50_imagenet-lt_180e.py'
model = dict(backbone=dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4)))
