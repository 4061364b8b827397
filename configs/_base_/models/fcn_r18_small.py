# A small FCN at stride 4 over three levels, from mmseg's own ResNet and FCNHead: quick on a CPU.
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(96, 96),
    test_cfg=dict(size_divisor=4),
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=3,
        out_indices=(0, 1, 2),
        stem_channels=24,
        base_channels=24,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        # Meant for long trainings of deep networks; a short one from scratch starts late with it.
        zero_init_residual=False,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=[24, 48, 96],
        in_index=[0, 1, 2],
        input_transform='resize_concat',
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=12,
        norm_cfg=norm_cfg,
        align_corners=False,
        # From scratch, mmseg's std of 0.01 leaves all objects one direction for hundreds of steps.
        init_cfg=dict(type='Normal', std=0.1, override=dict(name='conv_seg')),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
