# Table A1 of Mutual Learning for Long-Tailed Recognition, ImageNet-LT, ResNet-50: batch 64 as
# 2 x 32. The loss is a reconstruction.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_experts.py',
    '../_base_/schedules/mislas_180e.py',
]
model = dict(head=dict(interplay=dict(type='lt_mm.MutualLoss'), post_compensation=dict()))
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.jitter))
optim_wrapper = dict(optimizer=dict(lr=0.025, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64)
val_evaluator = test_evaluator = _base_.evaluators.experts
