# Table 7, SupCon, first stage, imbalance factor 1.
_base_ = 'supcon-encoder_r50_cifar10-lt-if100_1000e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=1))
