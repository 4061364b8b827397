# A config that trains in a second; DATA becomes a folder of random images.
default_scope = 'mmseg'
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), seg_pad_val=255),
    backbone=dict(
        type='UNet',
        base_channels=4,
        num_stages=2,
        strides=(1, 1),
        enc_num_convs=(1, 1),
        dec_num_convs=(1,),
        downsamples=(True,),
        enc_dilations=(1, 1),
        dec_dilations=(1,),
        norm_cfg=norm,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=4,
        channels=4,
        num_convs=1,
        num_classes=3,
        in_index=-1,
        concat_input=False,
        norm_cfg=norm,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    data_root='DATA',
    img_suffix='.png',
    pipeline=pipeline,
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=dict(classes=('sky', 'road', 'sign')),
)
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dataset, sampler=dict(type='InfiniteSampler', shuffle=True)
)
test_dataloader = dict(
    batch_size=1, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False)
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
    visualization=dict(type='SegVisualizationHook'),
)
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
)
log_processor = dict(by_epoch=False)
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
