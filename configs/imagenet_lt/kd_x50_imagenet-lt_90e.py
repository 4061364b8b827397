# Table 8, ImageNet-LT: KD beside L_cls, weighted as in the code of CRD (0.1 and 0.9, T = 4).
_base_ = 'cosine_x50_imagenet-lt_90e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_x101_imagenet-lt_90e.py', gives='teacher')
)
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(),
    head=dict(
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.1),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.9),
    ),
)
