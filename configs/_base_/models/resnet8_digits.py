# 75,000 parameters: the smallest of the CIFAR ResNets.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='lt_mm.LongTailClsHead',
        num_classes=10,
        in_channels=64,
        loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ),
)
