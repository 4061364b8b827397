# Table 8 of Jamal et al., the classifier alone in the second stage, cross-entropy.
_base_ = ['ce_r50_imagenet-lt_180e.py', '../_base_/models/second_stage.py']
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ce_r50_imagenet-lt_180e.py', gives='weights')
)
model = dict(_base_.classifier)
listed = dict(_base_.val_dataloader.dataset, pipeline=_base_.pipelines.jitter)
held = dict(type='lt_mm.PartOfDataset', part='held_out', per_class=10, dataset=listed)
meta = dict(type='lt_mm.MetaReweighting', source=held, num_workers=4)
custom_hooks = [*_base_.custom_hooks, meta]
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=10)]
train_cfg = dict(max_epochs=10)
