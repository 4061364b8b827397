# Section 4.2 for 400 epochs. The warm-up, of which it says nothing, takes twice as long, too.
_base_ = 'cifar_200e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
