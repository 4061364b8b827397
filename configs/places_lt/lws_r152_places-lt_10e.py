# Table 9 of MiSLAS: LWS. A scale for each class, learnt on balanced batches; nothing else moves but
# the batch statistics.
_base_ = 'ce_r152_places-lt_90e.py'
model = dict(
    backbone=dict(init_cfg=None),
    head=dict(
        _delete_=True,
        type='lt_mm.DecoupledClsHead',
        num_classes=365,
        in_channels=2048,
        alignment=dict(type='lt_mm.LearnableWeightScaling'),
        freeze_classifier=True,
    ),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler'))
# Of the last stage the weights stay and the batch statistics follow the sampler; of those before,
# both stay.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone.layer4': dict(lr_mult=0.0)}))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=10)]
train_cfg = dict(max_epochs=10)
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce_r152_places-lt_90e.py', gives='weights')
)
