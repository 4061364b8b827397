# Table 2, BCL with the settings of its own paper and code (Zhu et al., CVPR 2022).
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/bcl_90e.py',
]
contrast = dict(
    type='lt_mm.BCLLoss',
    widths=(2048, 1024),
    norm=dict(type='BN1d'),
    temperature=0.07,
    loss_weight=0.35,
)
model = dict(type='lt_mm.LongTailClassifier', head=dict(num_classes=8142, contrast=contrast))
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.randaug_simclr_simclr))
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=100)]
train_cfg = dict(max_epochs=100)
