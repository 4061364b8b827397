# CIFAR-100-LT; the test split is balanced. The imbalance factor is 100 unless a variant is asked for.
_base_ = 'cifar100.py'
train_dataloader = dict(dataset=dict(imbalance_factor=100))
variants = dict(
    if50=dict(train_dataloader=dict(dataset=dict(imbalance_factor=50))),
    if10=dict(train_dataloader=dict(dataset=dict(imbalance_factor=10))),
)
