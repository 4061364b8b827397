# Three experts of 3/4 of the width on the ResNet-8 of the digits: stem and first stage in common.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='lt_mm.MultiExpertResNet',
        backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8),
        num_experts=3,
        shared_stages=1,
        width_factor=0.75,
    ),
    neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
    head=dict(
        type='lt_mm.MultiExpertClsHead',
        num_classes=10,
        in_channels=48,
        experts=[dict()] * 3,
        expert_predictions=True,
        loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ),
)
