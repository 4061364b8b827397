# SADE: experts for the long-tailed, the uniform and the inversely long-tailed distribution.
_base_ = 'ce_efficientnet-lite0_freedoom-scenes-small.py'
model = dict(
    decode_head=dict(
        type='lt_mm.MultiExpertDecodeHead',
        experts=[
            dict(type='FPNHead', loss_decode=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)),
            dict(type='FPNHead', loss_decode=dict(type='lt_mm.LogitAdjustedLoss')),
            dict(type='FPNHead', loss_decode=dict(type='lt_mm.LogitAdjustedLoss', backward=2.0)),
        ],
    )
)
