# Table 4 of Jamal et al., ResNet-50 of ImageNet; five training images of each class are held out.
_base_ = [
    '../_base_/datasets/inaturalist2017.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/meta_90e.py',
]
pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
model = dict(backbone=dict(init_cfg=pretrained), head=dict(num_classes=5089))
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        _delete_=True,
        type='lt_mm.PartOfDataset',
        part='training',
        per_class=5,
        dataset=_base_.train_dataloader.dataset,
    ),
)
meta = dict(
    type='lt_mm.MetaReweighting', engine='finite_difference', source='held_out', num_workers=4
)
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=40), meta]
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='MultiStepLR', milestones=[40], gamma=0.1)]
train_cfg = dict(max_epochs=60)
