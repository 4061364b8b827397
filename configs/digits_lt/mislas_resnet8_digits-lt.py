# MiSLAS: mixup first; then label-aware smoothing, LWS with a slowly tuned classifier, and shifted
# batch normalisation. Delta-W is that of the paper's CIFAR-10-LT; its smoothing of 0.2 leaves the
# digits under-confident, 0.1 did best on the tuning split.
_base_ = 'lws_resnet8_digits-lt.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/mixup_resnet8_digits-lt.py'))
loss = dict(type='lt_mm.LabelAwareSmoothingLoss', head_smoothing=0.1, tail_smoothing=0.0)
model = dict(head=dict(freeze_classifier=False, loss=dict(_delete_=True, **loss)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.2)}))
