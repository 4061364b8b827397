# Table 9 of MiSLAS: LWS.
_base_ = ['ce_r152_places-lt_90e.py', '../_base_/models/second_stage.py']
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce_r152_places-lt_90e.py', gives='weights')
)
model = dict(backbone=dict(init_cfg=None), head=_base_.lws.head)
train_dataloader = dict(sampler=_base_.class_aware_sampler)
# Of the last stage the weights stay and the batch statistics follow the sampler; of those before,
# both stay.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone.layer4': dict(lr_mult=0.0)}))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=10)]
train_cfg = dict(max_epochs=10)
