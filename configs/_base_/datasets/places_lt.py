# Places-LT: the checkpoint is chosen on the validation list, results are of the test list.
_base_ = 'photos.py'
dataset_type = 'lt_mm.PlacesLT'
data_root = 'data/places365_standard'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='Places_LT_train.txt',
        pipeline=_base_.pipelines.jitter,
    )
)
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='Places_LT_val.txt')
)
test_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='Places_LT_test.txt')
)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
