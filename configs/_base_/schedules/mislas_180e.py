# Table 6 of MiSLAS (Zhong et al., CVPR 2021), first stage on ImageNet-LT: batch 256 as 4 x 64, no
# synchronised batch normalisation.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=180)]
train_cfg = dict(by_epoch=True, max_epochs=180, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=256)
