# RIDE on CIFAR-100-LT with the settings of its public configs; weights of classes and their
# temperatures from epoch 160 on.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/models/ride.py',
    '../_base_/schedules/ride_200e.py',
]
model = dict(head=_base_.ride_of_cifar)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop_rotate))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=160)]
val_evaluator = test_evaluator = _base_.evaluators.experts
