# Table 7 of MiSLAS, ResNet-101: cRT after mixup.
_base_ = 'crt-mixup_r50_imagenet-lt_10e.py'
model = dict(backbone=dict(depth=101))
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r101_imagenet-lt_180e.py'))
