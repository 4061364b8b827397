# The best of 0.1 and 0.3 on the tuning split; the rarest class is in 1.5 % of the images.
_base_ = 'ce_fcn_r18_digits.py'
train_dataloader = dict(
    sampler=dict(_delete_=True, type='lt_mm.RepeatFactorSampler', threshold=0.3, infinite=True)
)
