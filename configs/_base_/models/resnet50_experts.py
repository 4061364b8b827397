# Three experts on mmpretrain's ResNet-50: stem and two stages in common, then 192 and 384 planes in
# place of 256 and 512, as in RIDE. Linear classifiers, cross-entropy.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='lt_mm.MultiExpertResNet',
        backbone=dict(
            type='ResNet',
            depth=50,
            num_stages=4,
            out_indices=(3,),
            style='pytorch',
            # As in the public codes; mmpretrain zeroes the last norm of a block.
            zero_init_residual=False,
        ),
        num_experts=3,
        shared_stages=2,
        width_factor=0.75,
    ),
    neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
    head=dict(
        type='lt_mm.MultiExpertClsHead',
        num_classes=1000,
        in_channels=1536,
        experts=[dict()] * 3,
        expert_predictions=True,
        loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ),
)
