# Table 1 (a) as the public code runs it: tau_g learnt, k_m = 3, RandAugment on all views.
_base_ = 'gml-trainable-temperature_x50_imagenet-lt_90e.py'
model = dict(head=dict(contrast=dict(min_size=3)))
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.randaug_stacked_stacked))
