# Table 6 of MiSLAS, CIFAR-100-LT, imbalance factor 50, first stage.
_base_ = 'ce-mixup_r32_cifar100-lt-if100_200e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
