# Table 7 of MiSLAS, ResNet-50: LWS. A scale for each class, learnt on balanced batches; nothing
# else moves but the batch statistics.
_base_ = 'ce_r50_imagenet-lt_180e.py'
model = dict(
    type='lt_mm.DecoupledClassifier',
    frozen_batch_norm='statistics',
    head=dict(
        _delete_=True,
        type='lt_mm.DecoupledClsHead',
        num_classes=1000,
        in_channels=2048,
        alignment=dict(type='lt_mm.LearnableWeightScaling'),
        freeze_classifier=True,
    ),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler'))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=10)]
train_cfg = dict(max_epochs=10)
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce_r50_imagenet-lt_180e.py', gives='weights')
)
