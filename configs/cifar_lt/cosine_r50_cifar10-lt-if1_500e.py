# Table 7: GML's teacher, imbalance factor 1.
_base_ = 'cosine_r50_cifar10-lt-if100_500e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=1))
