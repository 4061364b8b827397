# Table 6 of MiSLAS, CIFAR-10-LT, first stage: cross-entropy and mixup.
_base_ = 'ce-mixup_r32_cifar100-lt_200e.py'
model = dict(head=dict(num_classes=10))
data_preprocessor = dict(num_classes=10)
of_cifar10 = dict(dataset=dict(type='lt_mm.CIFAR10LT', data_root='data/cifar10'))
train_dataloader = val_dataloader = test_dataloader = of_cifar10
