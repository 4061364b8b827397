# Table 3: BCL with the settings of its own paper (Zhu et al., CVPR 2022), on one process. Its
# public code has no CIFAR: the loss weights 2 and 0.6 could not be checked against it.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(
    type='lt_mm.LongTailClassifier',
    head=dict(
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=2.0),
        contrast=dict(
            type='lt_mm.BCLLoss',
            widths=(512, 128),
            norm=dict(type='BN1d'),
            temperature=0.1,
            loss_weight=0.6,
        ),
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=_base_.pipelines.autoaug_sim_sim))
optim_wrapper = dict(optimizer=dict(lr=0.15))
auto_scale_lr = dict(base_batch_size=256)
