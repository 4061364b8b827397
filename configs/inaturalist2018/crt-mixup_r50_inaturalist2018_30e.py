# Table 8 of MiSLAS: cRT after mixup in the first stage.
_base_ = 'crt_r50_inaturalist2018_30e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r50_inaturalist2018_200e.py'))
