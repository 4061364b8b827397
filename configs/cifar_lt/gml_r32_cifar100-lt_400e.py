# Table 3 (b): GML; Table A.1. How long the teacher trained is not said; here 200 epochs. The
# warm-up, of which the paper says nothing either, takes twice as long, as in its code.
_base_ = 'gml_r32_cifar100-lt_200e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
