# Three experts on a ResNet-32 for CIFAR: stem and first stage in common, then 24 and 48 channels in
# place of 32 and 64, as in RIDE. Linear classifiers, cross-entropy.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='lt_mm.MultiExpertResNet',
        backbone=dict(type='lt_mm.ResNetCifar6n2', depth=32),
        num_experts=3,
        shared_stages=1,
        width_factor=0.75,
    ),
    neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
    head=dict(
        type='lt_mm.MultiExpertClsHead',
        num_classes=100,
        in_channels=48,
        experts=[dict()] * 3,
        expert_predictions=True,
        loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ),
)
