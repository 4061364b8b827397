# NCL without its self-supervised branch: three whole networks with balanced softmax, which teach
# each other, also about the three classes that are hardest to tell apart (30 of 100 in the paper).
_base_ = 'experts_resnet8_digits-lt.py'
model = dict(
    backbone=dict(shared_stages=-1, width_factor=1.0),
    head=dict(
        in_channels=64,
        loss=dict(alpha=1.0),
        interplay=dict(type='lt_mm.HardCategoryLoss', num_hard=3),
        post_compensation=None,
    ),
)
