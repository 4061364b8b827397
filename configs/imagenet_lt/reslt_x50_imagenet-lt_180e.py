# ResLT on ImageNet-LT: 175, 605 and 220 classes; a matrix a branch. Batch 128 as 4 x 32.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/mislas_180e.py',
]
model = dict(
    head=dict(
        _delete_=True,
        type='lt_mm.ResLTClsHead',
        num_classes=1000,
        in_channels=2048,
        beta=0.99,
        branch='linear',
        groups=dict(sizes=(175, 605, 220)),
    )
)
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.jitter))
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=5, end=180),
]
auto_scale_lr = dict(base_batch_size=128)
val_evaluator = test_evaluator = _base_.evaluators.calibrated
