# Table 8, CIFAR-100-LT without distillation. The paper says neither the imbalance factor, here 100,
# nor the classifier; L_cls, since its 48.6 is out of reach of plain cross-entropy. The rest is
# CRD's (appendix A.2): network, augmentation, normalisation, schedule.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_240e.py',
]
model = dict(backbone=dict(depth=20, shortcut='B'))
data_preprocessor = _base_.of_cifar100
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.crop))
