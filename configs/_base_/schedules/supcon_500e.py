# Of SupCon's cross-entropy baseline: 500 epochs, batch 1024 as 8 x 128.
_base_ = 'supcon_1000e.py'
optim_wrapper = dict(optimizer=dict(lr=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0125, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-3, begin=10, end=500),
]
train_cfg = dict(max_epochs=500)
