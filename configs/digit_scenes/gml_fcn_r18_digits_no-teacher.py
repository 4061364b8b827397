# GML without a teacher: the keys are the student's own detached features.
_base_ = 'ce_fcn_r18_digits.py'
model = dict(
    decode_head=dict(
        type='lt_mm.GMLFCNHead',
        alpha=0.2,
        classifier='linear',
        contrast=dict(
            size=512, min_size=16, mixture_temperature=0.07, widths=(64, 64), loss_weight=0.2
        ),
        loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss'),
    )
)
variants = dict(alpha1=dict(model=dict(decode_head=dict(alpha=1.0))))
