# Table 8 of MiSLAS: LWS after mixup in the first stage.
_base_ = 'lws_r50_inaturalist2018_30e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r50_inaturalist2018_200e.py'))
