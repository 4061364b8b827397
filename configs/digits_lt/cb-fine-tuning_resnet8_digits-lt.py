# The control: class-balanced sampling from epoch 80 on (DRS).
_base_ = 'ce_resnet8_digits-lt.py'
sampler = dict(_delete_=True, type='lt_mm.ClassBalancedSampler', deferred=True)
train_dataloader = dict(sampler=sampler)
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=80)]
