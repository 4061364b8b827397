# Table 7 of MiSLAS, ResNet-101, first stage.
_base_ = 'ce_r50_imagenet-lt_180e.py'
model = dict(backbone=dict(depth=101))
