_base_ = 'cifar100_lt.py'
of_cifar10 = dict(dataset=dict(type='lt_mm.CIFAR10LT', data_root='data/cifar10'))
train_dataloader = of_cifar10
val_dataloader = of_cifar10
test_dataloader = of_cifar10
variants = dict(if1=dict(train_dataloader=dict(dataset=dict(imbalance_factor=1))))
