# Table 8 of MiSLAS, first stage of cRT and LWS: cross-entropy.
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/mislas_180e.py',
]
model = dict(head=dict(num_classes=8142))
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.pipelines.jitter))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=200)]
train_cfg = dict(max_epochs=200)
val_evaluator = test_evaluator = _base_.evaluators.calibrated
