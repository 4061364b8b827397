# Table 6 of MiSLAS, CIFAR-100-LT: label-aware smoothing, a scale for each class, a classifier that
# learns Delta W times as fast, and shifted batch normalisation.
_base_ = ['ce-mixup_r32_cifar100-lt_200e.py', '../_base_/models/second_stage.py']
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce-mixup_r32_cifar100-lt_200e.py', gives='weights')
)
loss = dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.4, tail_smoothing=0.1)
head = dict(_base_.lws.head, freeze_classifier=False, loss=dict(_delete_=True, **loss))
model = dict(_base_.lws, train_cfg=None, head=head)
train_dataloader = dict(sampler=_base_.class_aware_sampler)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.2)}))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=10)]
train_cfg = dict(max_epochs=10, val_interval=1)
slower_classifier = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.1)}))
variants = dict(
    if50=dict(
        model=dict(head=dict(loss=dict(head_smoothing=0.3, tail_smoothing=0.0))),
        optim_wrapper=slower_classifier,
    ),
    if10=dict(
        model=dict(head=dict(loss=dict(head_smoothing=0.2, tail_smoothing=0.0))),
        optim_wrapper=slower_classifier,
    ),
)
