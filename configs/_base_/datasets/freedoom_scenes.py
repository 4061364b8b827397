# The small size: tools/dataset_converters/freedoom_scenes.py data/freedoom_scenes_small --size small
# To choose hyper-parameters, validate on the tuning split:
# --cfg-options val_dataloader.dataset.data_prefix.img_path=images/tuning
#               val_dataloader.dataset.data_prefix.seg_map_path=annotations/tuning
dataset_type = 'lt_mm.FreedoomScenesDataset'
data_root = 'data/freedoom_scenes_small'
crop_size = (96, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # mmcv's scale is (width, height), mmseg's crop is (height, width).
    dict(type='RandomResize', scale=(160, 120), ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

groups = dict(by='counts')
val_evaluator = dict(type='lt_mm.LongTailIoUMetric', iou_metrics=['mIoU'], groups=groups)
test_evaluator = val_evaluator
