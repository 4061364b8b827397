# SADE on a network of experts: for the long-tailed, the uniform and the inversely long-tailed
# distribution.
sade = dict(
    classifier='cosine',
    classifier_temperature=1 / 30,
    # Short vectors to begin with, as those of a linear classifier: they turn the faster.
    init_cfg=dict(type='Normal', std=0.01, override=dict(name='fc')),
    experts=[
        dict(loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)),
        dict(loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0)),
        dict(loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0, backward=2.0)),
    ],
)
