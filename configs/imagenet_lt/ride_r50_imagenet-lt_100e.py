# RIDE on ImageNet-LT, ResNet-50, with the settings of its public configs.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_experts.py',
    '../_base_/models/ride.py',
    '../_base_/schedules/ride_100e.py',
]
model = dict(head=_base_.ride_of_photos)
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.jitter))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=80)]
val_evaluator = test_evaluator = _base_.evaluators.experts
