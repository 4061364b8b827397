# Table 7 of MiSLAS, ResNet-50 and Table 6: MiSLAS, LWS after mixup with label-aware smoothing and a
# classifier that learns Delta W times as fast.
_base_ = 'lws-mixup_r50_imagenet-lt_10e.py'
model = dict(
    head=dict(
        freeze_classifier=False,
        loss=dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.3, tail_smoothing=0.0),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.05)}))
