# Section 4.2 of the GML paper for iNaturalist 2018: batch 128 as 4 x 32.
_base_ = 'imagenet_lt_90e.py'
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=2e-4))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=100)]
train_cfg = dict(max_epochs=100)
