# The whole of ImageNet, for the balanced half of Table 8; reported on its validation set.
# Batch sizes are per process.
_base_ = ['../augmentations/imagenet.py', '../default_runtime_cls.py']
dataset_type = 'ImageNet'
data_root = 'data/imagenet'
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=_base_.pipelines.resized_crop,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='val', pipeline=_base_.pipelines.test
    ),
)
test_dataloader = val_dataloader
