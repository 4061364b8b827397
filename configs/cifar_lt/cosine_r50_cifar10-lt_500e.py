# Table 7: GML's teacher, which the paper does not describe: the student's own network, which
# Table 6 finds sufficient, trained with L_cls as long as the cross-entropy baseline.
_base_ = [
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet50_cifar10.py',
    '../_base_/schedules/supcon_500e.py',
]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.resized_crop))
