# Table 2 (a): GML; Table A.1.
_base_ = 'cosine_r152_inaturalist2018_100e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r152_inaturalist2018_100e.py', gives='teacher')
)
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(),
    backbone=dict(depth=50),
    head=dict(
        type='lt_mm.GMLClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=1.0),
        contrast=dict(
            size=65536,
            min_size=2,
            widths=(2048, 1024),
            norm=dict(type='BN1d'),
            mixture_temperature=0.1,
            loss_weight=1.0,
        ),
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.sim_3views))
