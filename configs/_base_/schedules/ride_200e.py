# The public configs of RIDE for CIFAR-100-LT. As in LDAM, the rate falls to a hundredth, twice.
_base_ = 'cifar_200e.py'
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=5e-4, nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01),
]
auto_scale_lr = dict(base_batch_size=128)
