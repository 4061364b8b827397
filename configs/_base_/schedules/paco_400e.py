# Of PaCo (Cui et al., ICCV 2021) on ImageNet-LT and iNaturalist: batch 128 as 4 x 32.
_base_ = 'imagenet_lt_90e.py'
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=10, end=400),
]
train_cfg = dict(max_epochs=400)
sync_bn = None
