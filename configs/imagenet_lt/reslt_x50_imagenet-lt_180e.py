# ResLT on ImageNet-LT: 175, 605 and 220 classes; a convolution with normalisation and ReLU a branch,
# before pooling. Batch 256 as 4 x 64, as its script for ResNeXt-50 has it.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/mislas_180e.py',
]
model = dict(
    neck=None,
    head=dict(
        _delete_=True,
        type='lt_mm.ResLTClsHead',
        num_classes=1000,
        in_channels=2048,
        beta=0.99,
        branch='conv',
        groups=dict(sizes=(175, 605, 220)),
    ),
)
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.pipelines.jitter))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=5, end=180),
]
val_evaluator = test_evaluator = _base_.evaluators.calibrated
