# Places-LT: the checkpoint is chosen on the validation list, results are of the test list.
# Batch sizes are per process.
_base_ = ['../augmentations/imagenet.py', '../default_runtime_cls.py']
dataset_type = 'lt_mm.PlacesLT'
data_root = 'data/places365_standard'
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='Places_LT_train.txt',
        pipeline=_base_.pipelines.jitter,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='Places_LT_val.txt',
        pipeline=_base_.pipelines.test,
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='Places_LT_test.txt',
        pipeline=_base_.pipelines.test,
    ),
)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
