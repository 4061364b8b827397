# Table 3 (a): GML; Table A.1. Section 4.2 has batch 64 and learning rate 0.05; the public code, 128
# and 0.1.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_gml.py',
    '../_base_/schedules/cifar_200e.py',
]
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_200e.py', gives='teacher')
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.autoaug_3views))
