_base_ = 'ce_resnet8_digits-lt.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler', q=0.5))
