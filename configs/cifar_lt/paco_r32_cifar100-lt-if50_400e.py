# Table 3: PaCo, imbalance factor 50.
_base_ = 'paco_r32_cifar100-lt-if100_400e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
