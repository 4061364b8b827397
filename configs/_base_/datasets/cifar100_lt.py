# CIFAR-100-LT; the test split is balanced. The imbalance factor is 100 unless a variant is asked for.
_base_ = 'cifar100.py'
# Those of CIFAR-10, which the public codes of long-tailed recognition have for CIFAR-100, too.
data_preprocessor = dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255])
train_dataloader = dict(dataset=dict(imbalance_factor=100))
variants = dict(
    if50=dict(train_dataloader=dict(dataset=dict(imbalance_factor=50))),
    if10=dict(train_dataloader=dict(dataset=dict(imbalance_factor=10))),
)
