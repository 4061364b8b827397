# Table 7: cross-entropy, imbalance factor 50.
_base_ = 'ce_r50_cifar10-lt-if100_500e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
