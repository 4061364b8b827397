# Demo data set, made on first use. To choose hyper-parameters, validate on the tuning split:
# --cfg-options val_dataloader.dataset.data_prefix.img_path=images/tuning
#               val_dataloader.dataset.data_prefix.seg_map_path=annotations/tuning
dataset_type = 'lt_mm.DigitScenesDataset'
data_root = 'data/digit_scenes'
crop_size = (96, 96)
# What data_root must hold; another long tail needs another data_root.
make = dict(seed=0, imbalance_factor=100, profile='exp')
# No flip: digits are not mirror symmetric.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=crop_size, ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PhotoMetricDistortion'),
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
        make=make,
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
        make=make,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# Head, body and tail in the proportions of ADE20K: 2, 4 and 6 of the 12 classes.
groups = dict(by='counts')
val_evaluator = dict(type='lt_mm.LongTailIoUMetric', iou_metrics=['mIoU'], groups=groups)
test_evaluator = val_evaluator
