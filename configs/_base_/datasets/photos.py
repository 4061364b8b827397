# What the data sets of photos at 224 x 224 have in common; mean and deviation are those of ImageNet.
# Batch sizes are per process.
_base_ = ['../augmentations/imagenet.py', '../default_runtime_cls.py']
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=_base_.pipelines.test),
)
test_dataloader = val_dataloader
