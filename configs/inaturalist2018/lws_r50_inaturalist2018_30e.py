# Table 8 of MiSLAS: LWS.
_base_ = ['ce_r50_inaturalist2018_200e.py', '../_base_/models/second_stage.py']
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce_r50_inaturalist2018_200e.py', gives='weights')
)
model = _base_.lws
train_dataloader = dict(sampler=_base_.class_aware_sampler)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=30)]
train_cfg = dict(max_epochs=30)
