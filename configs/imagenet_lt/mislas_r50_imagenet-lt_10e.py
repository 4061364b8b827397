# Table 7 of MiSLAS and Table 6: MiSLAS, LWS after mixup with label-aware smoothing and a
# classifier that learns Delta W times as fast.
_base_ = 'lws-mixup_r50_imagenet-lt_10e.py'
loss = dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.3, tail_smoothing=0.0)
model = dict(head=dict(freeze_classifier=False, loss=dict(_delete_=True, **loss)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.05)}))
