# mmpretrain's ResNet-50 with the cosine classifier.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(3,),
        style='pytorch',
        # As in the public codes; mmpretrain zeroes the last norm of a block.
        zero_init_residual=False,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='lt_mm.CosineClsHead',
        num_classes=1000,
        in_channels=2048,
        classifier_temperature=1 / 30,
    ),
)
