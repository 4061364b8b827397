# Three experts on mmpretrain's ResNeXt-50 32x4d.
_base_ = 'resnet50_experts.py'
model = dict(backbone=dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4)))
