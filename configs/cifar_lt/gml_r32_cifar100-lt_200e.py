# Table 3 (a): GML; Table A.1. Section 4.2 has batch 64 and learning rate 0.05; the public code, 128
# and 0.1.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_200e.py'),
    head=dict(
        type='lt_mm.GMLClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=1.0),
        gml=dict(size=4096, min_size=2, widths=(64, 32), temperature=0.1, loss_weight=1.0),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=1.0),
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.autoaug_3views))
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_200e.py', gives='teacher')
)
