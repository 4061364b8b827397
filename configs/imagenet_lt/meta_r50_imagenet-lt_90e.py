# Table 6 of Jamal et al., all layers; ten images of each class of the validation list, of which
# there are twenty, are the development set. Results are of the test list.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/meta_90e.py',
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.pipelines.jitter))
listed = dict(_base_.val_dataloader.dataset, pipeline=_base_.pipelines.jitter)
held = dict(type='lt_mm.PartOfDataset', part='held_out', per_class=10, dataset=listed)
meta = dict(type='lt_mm.MetaReweighting', engine='finite_difference', source=held, num_workers=4)
begin = dict(type='lt_mm.DeferredHook', begin=35)
custom_hooks = [*_base_.custom_hooks, begin, meta]
