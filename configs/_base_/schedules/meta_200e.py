# Jamal et al. on CIFAR, whose second stage is epochs 160 to 199: the code's rates and momentum, which
# the paper does not all tell. The public code lowers the rate an epoch before that.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01)]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=100)
