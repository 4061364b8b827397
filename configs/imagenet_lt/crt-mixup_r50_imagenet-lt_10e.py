# Table 7 of MiSLAS: cRT after mixup in the first stage.
_base_ = 'crt_r50_imagenet-lt_10e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r50_imagenet-lt_180e.py'))
