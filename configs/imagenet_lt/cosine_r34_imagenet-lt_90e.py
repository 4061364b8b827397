# Table 6: the teacher ResNet-34.
_base_ = 'cosine_r50_imagenet-lt_90e.py'
model = dict(backbone=dict(depth=34), head=dict(in_channels=512))
