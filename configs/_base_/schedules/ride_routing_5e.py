# The second stage of RIDE's public configs: routers alone learn, on batches of 512.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=5)]
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=512)
