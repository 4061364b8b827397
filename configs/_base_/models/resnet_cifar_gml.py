# GML on a ResNet of 6n+2 layers, with the numbers of Table A.1, and a teacher that is distilled, too.
_base_ = 'resnet_cifar.py'
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(),
    head=dict(
        type='lt_mm.GMLClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=1.0),
        contrast=dict(
            size=4096,
            min_size=2,
            widths=(64, 32),
            norm=dict(type='BN1d'),
            mixture_temperature=0.1,
            loss_weight=1.0,
        ),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=1.0),
    ),
)
