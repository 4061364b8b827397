# PyTorch's own example, which CRD follows on ImageNet: batch 256 as 8 x 32.
_base_ = 'imagenet_lt_90e.py'
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[30, 60], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=256)
sync_bn = None
