# Table A1 of Mutual Learning for Long-Tailed Recognition, CIFAR100-LT, imbalance factor 50.
_base_ = 'mutual_r32_cifar100-lt-if100_200e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
