# Of VL-LTR's pre-training with a ViT-B/16 (Tian et al., 2021): 3.5e-5 a batch of 512, here 1024.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=7e-5, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=5, end=50),
]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=1024)
