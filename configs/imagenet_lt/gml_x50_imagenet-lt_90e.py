# Table 1 (a) and with it Tables 5, 6 and 8: GML with the teacher ResNeXt-101; Table A.1.
_base_ = 'cosine_x50_imagenet-lt_90e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_x101_imagenet-lt_90e.py', gives='teacher')
)
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(),
    head=dict(
        type='lt_mm.GMLClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=1.0),
        contrast=dict(
            size=16384,
            min_size=2,
            widths=(2048, 1024),
            norm=dict(type='BN1d'),
            mixture_temperature=0.07,
            loss_weight=1.0,
        ),
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.randaug_sim_sim))
