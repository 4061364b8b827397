_base_ = 'ce_fcn_r18_digits.py'
train_dataloader = dict(
    sampler=dict(_delete_=True, type='lt_mm.RepeatFactorSampler', threshold=0.1, infinite=True)
)
