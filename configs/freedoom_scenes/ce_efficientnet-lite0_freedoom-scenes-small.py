# Cross-entropy on the small Freedoom scenes, about 8 minutes of two cores.
_base_ = [
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/datasets/freedoom_scenes.py',
    '../_base_/schedules/adamw_1500.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=3e-3, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=50, end=1500, eta_min=1e-6, by_epoch=False),
]
custom_hooks = [
    dict(type='lt_mm.ClassCountsHook'),
    dict(type='lt_mm.RandomStateHook'),
    dict(type='lt_mm.TrainingGuardHook'),
    dict(type='lt_mm.ChannelsLastHook'),
]
