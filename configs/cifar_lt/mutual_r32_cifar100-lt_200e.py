# Table A1 of Mutual Learning for Long-Tailed Recognition, CIFAR100-LT. The loss is a
# reconstruction, as is what the table does not say: number of experts, steps, views.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(head=dict(interplay=dict(type='lt_mm.MutualLoss'), post_compensation=dict()))
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=128)
val_evaluator = test_evaluator = _base_.evaluators.experts
