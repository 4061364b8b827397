# Table 3: BCL, imbalance factor 10.
_base_ = 'bcl_r32_cifar100-lt-if100_200e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=10))
