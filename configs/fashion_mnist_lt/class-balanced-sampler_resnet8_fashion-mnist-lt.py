# A class of n images as often as n^0.25 says, which the tuning split chose.
_base_ = 'ce_resnet8_fashion-mnist-lt.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler', q=0.25))
variants = dict(_delete_=True)
