# Table 3: balanced softmax, imbalance factor 50.
_base_ = 'balanced-softmax_r32_cifar100-lt-if100_400e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
