# mmpretrain's ResNet-50 for 32 x 32 pixels, which is SupCon's, with the cosine classifier.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=50,
        num_stages=4,
        out_indices=(3,),
        style='pytorch',
        # As in its public code; mmpretrain zeroes the last norm of a block.
        zero_init_residual=False,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='lt_mm.CosineClsHead',
        num_classes=10,
        in_channels=2048,
        classifier_temperature=1 / 30,
    ),
)
