# Table 3 (b): GML; Table A.1. How long the teacher trained is not said; here 200 epochs.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_gml.py',
    '../_base_/schedules/cifar_400e.py',
]
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_200e.py', gives='teacher')
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.autoaug_3views))
