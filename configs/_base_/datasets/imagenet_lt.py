# ImageNet-LT: the checkpoint is chosen on the validation list, results are of the test list.
_base_ = 'photos.py'
dataset_type = 'lt_mm.ImageNetLT'
data_root = 'data/imagenet'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageNet_LT_train.txt',
        pipeline=_base_.pipelines.randaug,
    )
)
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='ImageNet_LT_val.txt')
)
test_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='ImageNet_LT_test.txt')
)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
