# Table 9 of MiSLAS, first stage of cRT and LWS: cross-entropy on torchvision's ResNet-152, of which
# the last block is trained. The other two blocks of its last stage keep their weights, not their
# batch statistics.
_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/mislas_180e.py',
]
model = dict(
    backbone=dict(
        depth=152,
        frozen_stages=3,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'),
    ),
    head=dict(num_classes=365),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'backbone.layer4.0': dict(lr_mult=0.0), 'backbone.layer4.1': dict(lr_mult=0.0)}
    )
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=90)]
train_cfg = dict(max_epochs=90)
val_evaluator = test_evaluator = _base_.evaluators.calibrated
