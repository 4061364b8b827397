# Table 6 of MiSLAS, CIFAR-10-LT, imbalance factor 50, first stage.
_base_ = 'ce-mixup_r32_cifar10-lt-if100_200e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
