# Table 7 of MiSLAS, ResNet-152: cRT.
_base_ = 'crt_r50_imagenet-lt_10e.py'
model = dict(backbone=dict(depth=152))
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce_r152_imagenet-lt_180e.py'))
