# Second stages of decoupled training, for networks whose first one had a linear classifier.
# LWS: a scale for each class, learnt on balanced batches; nothing else moves but the statistics of
# batch normalisation, which follow the sampler, as in the public code of Kang et al. and MiSLAS.
lws = dict(
    type='lt_mm.LongTailClassifier',
    freeze_encoder=True,
    frozen_batch_norm='statistics',
    head=dict(
        type='lt_mm.LongTailClsHead',
        alignment=dict(type='lt_mm.LearnableWeightScaling'),
        freeze_classifier=True,
        loss=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ),
)
balanced_sampler = dict(_delete_=True, type='lt_mm.ClassBalancedSampler')
# Theirs: classes by turns, four images of each.
class_aware_sampler = dict(_delete_=True, type='lt_mm.ClassAwareSampler', samples_per_class=4)
# The classifier alone, on what it was: its weights go on, those of the encoder stay.
classifier = dict(
    type='lt_mm.LongTailClassifier',
    freeze_encoder=True,
    head=dict(
        type='lt_mm.LongTailClsHead',
        loss=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ),
)
