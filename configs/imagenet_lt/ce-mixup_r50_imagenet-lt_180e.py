# Table 7 of MiSLAS, first stage with mixup.
_base_ = 'ce_r50_imagenet-lt_180e.py'
model = dict(
    head=dict(loss=dict(use_soft=True)), train_cfg=dict(augments=dict(type='Mixup', alpha=0.2))
)
data_preprocessor = dict(num_classes=1000)
