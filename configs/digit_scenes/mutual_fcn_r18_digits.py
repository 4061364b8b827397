# Mutual learning: three heads trained by cross-entropy teach one another; the prior is taken out
# at test time.
_base_ = 'ce_fcn_r18_digits.py'
model = dict(
    decode_head=dict(
        type='lt_mm.MultiExpertDecodeHead',
        experts=[dict(type='FCNHead')] * 3,
        interplay=dict(type='lt_mm.MutualLoss'),
        post_compensation=dict(),
    )
)
