# Table 7 of MiSLAS: LWS after mixup in the first stage.
_base_ = 'lws_r50_imagenet-lt_10e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r50_imagenet-lt_180e.py'))
