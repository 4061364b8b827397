# A small FCN at stride 4: quick enough for a CPU, built from mmseg's own ResNet and FCNHead.
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(96, 96),
    test_cfg=dict(size_divisor=4))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=2,
        out_indices=(0, 1),
        stem_channels=24,
        base_channels=24,
        strides=(1, 1),
        dilations=(1, 2),
        norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead',
        in_channels=48,
        in_index=1,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=12,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
