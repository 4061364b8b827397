# Table 9 of MiSLAS: LWS after mixup in the first stage.
_base_ = 'lws_r152_places-lt_10e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r152_places-lt_90e.py'))
