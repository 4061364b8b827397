# Table 6 of MiSLAS, CIFAR-100-LT, imbalance factor 100: label-aware smoothing, a scale for each
# class, a classifier that learns Delta W times as fast, and shifted batch normalisation.
_base_ = 'ce-mixup_r32_cifar100-lt_200e.py'
model = dict(
    type='lt_mm.DecoupledClassifier',
    frozen_batch_norm='statistics',
    train_cfg=None,
    head=dict(
        _delete_=True,
        type='lt_mm.DecoupledClsHead',
        num_classes=100,
        in_channels=64,
        alignment=dict(type='lt_mm.LearnableWeightScaling'),
        loss=dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.4, tail_smoothing=0.1),
    ),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler'))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.2)}))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=10)]
train_cfg = dict(max_epochs=10, val_interval=1)
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce-mixup_r32_cifar100-lt_200e.py', gives='weights')
)
variants = dict(
    if50=dict(
        model=dict(head=dict(loss=dict(head_smoothing=0.3, tail_smoothing=0.0))),
        optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.1)})),
    ),
    if10=dict(
        model=dict(head=dict(loss=dict(head_smoothing=0.2, tail_smoothing=0.0))),
        optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.1)})),
    ),
)
