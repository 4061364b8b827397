# Table 5 of Jamal et al., ResNet-50 of ImageNet, without their training on iNaturalist 2017 before.
# They hold out two images of each class, which is all that some have: here a balanced draw.
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/meta_90e.py',
]
pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
model = dict(backbone=dict(init_cfg=pretrained), head=dict(num_classes=8142))
train_dataloader = dict(batch_size=64)
meta = dict(type='lt_mm.MetaReweighting', engine='finite_difference', source='drawn', num_workers=4)
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=40), meta]
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='MultiStepLR', milestones=[40], gamma=0.1)]
train_cfg = dict(max_epochs=60)
