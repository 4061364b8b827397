# Table 3: the teacher, imbalance factor 10.
_base_ = 'cosine_r56_cifar100-lt-if100_200e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=10))
