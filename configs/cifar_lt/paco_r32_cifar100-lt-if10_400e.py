# Table 3: PaCo, imbalance factor 10.
_base_ = 'paco_r32_cifar100-lt-if100_400e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=10))
