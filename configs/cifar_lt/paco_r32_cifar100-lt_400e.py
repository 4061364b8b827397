# Table 3: PaCo with the settings of its own code (Cui et al., ICCV 2021), on one process.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/cifar_400e.py',
]
contrast = dict(
    type='lt_mm.PaCoLoss',
    widths=(64, 32),
    norm=dict(type='BN1d'),
    size=1024,
    temperature=0.05,
    alpha=0.01,
)
model = dict(
    type='lt_mm.LongTailClassifier',
    key_momentum=0.999,
    head=dict(
        _delete_=True,
        type='lt_mm.LongTailClsHead',
        num_classes=100,
        in_channels=64,
        # L_PaCo trains the classifier.
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.0),
        contrast=contrast,
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.autoaug_simblur))
auto_scale_lr = dict(base_batch_size=128)
