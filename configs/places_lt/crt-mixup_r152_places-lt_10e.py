# Table 9 of MiSLAS: cRT after mixup in the first stage.
_base_ = 'crt_r152_places-lt_10e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r152_places-lt_90e.py'))
