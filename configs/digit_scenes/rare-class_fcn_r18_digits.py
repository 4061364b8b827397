# Rare classes first; a digit has a few hundred pixels. The better of the temperatures 0.01 and 0.1
# on the tuning split.
_base_ = 'ce_fcn_r18_digits.py'
sampler = dict(type='lt_mm.RareClassSampler', temperature=0.1, min_pixels=100, infinite=True)
train_dataloader = dict(sampler=dict(_delete_=True, **sampler))
