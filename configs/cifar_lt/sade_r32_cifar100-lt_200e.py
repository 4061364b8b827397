# SADE on CIFAR-100-LT with the settings of its public configs.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/models/sade.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(head=_base_.sade)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop_rotate))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=5e-4, nesterov=True))
auto_scale_lr = dict(base_batch_size=128)
val_evaluator = test_evaluator = _base_.evaluators.experts
