# Table 8, CIFAR-100-LT: GML, as on CIFAR-100, with the imbalance factor and the teacher of the
# other rows.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_gml.py',
    '../_base_/schedules/cifar_240e.py',
]
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py', gives='teacher')
)
model = dict(backbone=dict(depth=20, shortcut='B'))
data_preprocessor = dict(type='SelfSupDataPreprocessor', **_base_.of_cifar100)
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.crop_3views))
