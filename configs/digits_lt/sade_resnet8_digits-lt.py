# SADE: experts for the long-tailed, the uniform and the inversely long-tailed distribution.
_base_ = 'experts_resnet8_digits-lt.py'
model = dict(
    head=dict(
        classifier='cosine',
        temperature=1 / 30,
        loss=[
            dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
            dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0),
            dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0, backward=2.0),
        ],
        post_compensation=None,
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
