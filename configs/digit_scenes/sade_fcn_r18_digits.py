# SADE: experts for the long-tailed, the uniform and the inversely long-tailed distribution.
_base_ = 'ce_fcn_r18_digits.py'
model = dict(
    decode_head=dict(
        type='lt_mm.MultiExpertDecodeHead',
        experts=[
            dict(type='FCNHead', loss_decode=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)),
            dict(type='FCNHead', loss_decode=dict(type='lt_mm.LogitAdjustedLoss')),
            dict(type='FCNHead', loss_decode=dict(type='lt_mm.LogitAdjustedLoss', backward=2.0)),
        ],
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
