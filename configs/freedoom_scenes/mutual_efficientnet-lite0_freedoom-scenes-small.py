# Mutual learning: three heads trained by cross-entropy teach one another; the prior is taken out
# at test time.
_base_ = 'ce_efficientnet-lite0_freedoom-scenes-small.py'
model = dict(
    decode_head=dict(
        type='lt_mm.MultiExpertDecodeHead',
        experts=[dict(type='FPNHead')] * 3,
        interplay=dict(type='lt_mm.MutualLoss'),
        post_compensation=dict(alpha=0.2),
    )
)
