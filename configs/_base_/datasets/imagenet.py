# The whole of ImageNet, for the balanced half of Table 8; reported on its validation set.
_base_ = 'photos.py'
dataset_type = 'ImageNet'
data_root = 'data/imagenet'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=_base_.pipelines.resized_crop,
    )
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='val'))
test_dataloader = val_dataloader
