# Of SupCon's linear classifier on a frozen encoder: batch 512 as 4 x 128.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=5.0, momentum=0.9, weight_decay=0.0)
)
param_scheduler = [dict(type='MultiStepLR', milestones=[60, 75, 90], gamma=0.2)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=512)
