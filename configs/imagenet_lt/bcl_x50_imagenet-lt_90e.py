# Tables 1 and 5, BCL with the settings of its own paper and code (Zhu et al., CVPR 2022).
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/bcl_90e.py',
]
contrast = dict(
    type='lt_mm.BCLLoss',
    widths=(2048, 1024),
    norm=dict(type='BN1d'),
    temperature=0.07,
    loss_weight=0.35,
)
model = dict(type='lt_mm.LongTailClassifier', head=dict(contrast=contrast))
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.randaug_simclr_simclr))
