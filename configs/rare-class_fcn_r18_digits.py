# Rare classes first; a digit has a few hundred pixels.
_base_ = 'ce_fcn_r18_digits.py'
train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type='lt_mm.RareClassSampler',
        temperature=0.01,
        min_pixels=100,
        infinite=True))
