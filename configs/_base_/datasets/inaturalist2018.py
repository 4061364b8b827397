# iNaturalist 2018, validated and reported on the official validation set: the labels of the test
# set are not public. Mean and deviation are those of the public code of PaCo, BCL and GML.
_base_ = 'photos.py'
dataset_type = 'lt_mm.INaturalist2018'
data_root = 'data/inaturalist2018'
data_preprocessor = dict(mean=[118.83, 120.105, 96.9], std=[49.725, 49.47, 48.96])
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train2018.json',
        pipeline=_base_.pipelines.randaug,
    )
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, ann_file='val2018.json'))
test_dataloader = val_dataloader
