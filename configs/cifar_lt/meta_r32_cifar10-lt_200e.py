# Table 2 of Jamal et al., cross-entropy; a development set of 10 images a class is taken out before
# the tail is cut. The step is the library's: that of the paper is in effect DRW.
_base_ = [
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet_cifar.py',
    '../_base_/schedules/meta_200e.py',
]
linear = dict(
    _delete_=True,
    type='lt_mm.LongTailClsHead',
    num_classes=10,
    in_channels=64,
    loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
)
model = dict(head=linear)
crop = dict(development=10, pipeline=_base_.pipelines.crop)
train_dataloader = dict(batch_size=100, dataset=crop)
held = dict(_base_.train_dataloader.dataset, split='development', **crop)
meta = dict(type='lt_mm.MetaReweighting', engine='jvp', source=held)
begin = dict(type='lt_mm.DeferredHook', begin=160)
custom_hooks = [*_base_.custom_hooks, begin, meta]
variants = dict(
    if200=dict(train_dataloader=dict(dataset=dict(imbalance_factor=200))),
    if20=dict(train_dataloader=dict(dataset=dict(imbalance_factor=20))),
)
