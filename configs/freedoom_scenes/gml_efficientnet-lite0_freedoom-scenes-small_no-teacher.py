# GML without a teacher at alpha = 0.2, which the tuning split chose, and settings to be compared.
_base_ = 'ce_efficientnet-lite0_freedoom-scenes-small.py'
model = dict(
    decode_head=dict(
        type='lt_mm.LongTailHead',
        base='FPNHead',
        alpha=0.2,
        classifier='linear',
        contrast=dict(
            type='lt_mm.GMLLoss', size=2048, min_size=16, widths=(64, 64), loss_weight=0.2
        ),
        loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss'),
    )
)
cosine = dict(classifier='cosine', classifier_temperature=0.05)
heads = dict(
    alpha1=dict(alpha=1.0),
    weight1=dict(contrast=dict(loss_weight=1.0)),
    bn1=dict(contrast=dict(norm=dict(type='BN1d'))),
    cosine1=cosine,
    # All as in the paper but the size of the queue.
    paper1=dict(contrast=dict(loss_weight=1.0), **cosine),
    temperature02=dict(contrast=dict(mixture_temperature=0.2)),
)
variants = {name: dict(model=dict(decode_head=head)) for name, head in heads.items()}
