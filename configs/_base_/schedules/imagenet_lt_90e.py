# Section 4.2 of the GML paper for ImageNet-LT: batch 128 as 4 x 32.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=90)]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=128)
# In several processes, as in the public code of GML.
sync_bn = 'torch'
