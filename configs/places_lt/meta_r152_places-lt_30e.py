# Table 7 of Jamal et al., all layers of torchvision's ResNet-152; the second stage begins with the
# first decay.
_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/meta_90e.py',
]
pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet152')
model = dict(backbone=dict(depth=152, init_cfg=pretrained), head=dict(num_classes=365))
train_dataloader = dict(batch_size=64)
listed = dict(_base_.val_dataloader.dataset, pipeline=_base_.train_dataloader.dataset.pipeline)
held = dict(type='lt_mm.PartOfDataset', part='held_out', per_class=10, dataset=listed)
meta = dict(type='lt_mm.MetaReweighting', engine='finite_difference', source=held, num_workers=4)
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=10), meta]
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='MultiStepLR', milestones=[10, 20], gamma=0.1)]
train_cfg = dict(max_epochs=30)
