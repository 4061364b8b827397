# Table 2, PaCo with the settings of its own code (Cui et al., ICCV 2021).
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/paco_400e.py',
]
contrast = dict(
    type='lt_mm.PaCoLoss',
    widths=(2048, 128),
    norm=dict(type='BN1d'),
    size=8192,
    temperature=0.2,
    alpha=0.05,
)
model = dict(
    type='lt_mm.LongTailClassifier',
    key_momentum=0.999,
    head=dict(
        _delete_=True,
        type='lt_mm.LongTailClsHead',
        num_classes=8142,
        in_channels=2048,
        # L_PaCo trains the classifier.
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.0),
        contrast=contrast,
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.randaug_sim))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
