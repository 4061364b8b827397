# Cross-entropy with mixup: the first stage of MiSLAS.
_base_ = 'ce_resnet8_digits-lt.py'
model = dict(train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)))
data_preprocessor = dict(num_classes=10)
