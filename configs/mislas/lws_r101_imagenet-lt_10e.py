# Table 7 of MiSLAS, ResNet-101: LWS.
_base_ = 'lws_r50_imagenet-lt_10e.py'
model = dict(backbone=dict(depth=101))
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce_r101_imagenet-lt_180e.py'))
