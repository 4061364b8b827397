# SADE on ImageNet-LT with the settings of its public configs: batch 64 as 2 x 32.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_experts.py',
    '../_base_/models/sade.py',
    '../_base_/schedules/mislas_180e.py',
]
resnext = dict(type='ResNeXt', groups=32, width_per_group=4)
model = dict(backbone=dict(backbone=resnext), head=_base_.sade)
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.jitter))
optim_wrapper = dict(optimizer=dict(lr=0.025, weight_decay=5e-4, nesterov=True))
auto_scale_lr = dict(base_batch_size=64)
val_evaluator = test_evaluator = _base_.evaluators.experts
