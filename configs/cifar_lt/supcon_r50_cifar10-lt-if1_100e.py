# Table 7, SupCon, second stage, imbalance factor 1.
_base_ = 'supcon_r50_cifar10-lt-if100_100e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=1))
earlier_stages = dict(
    encoder=dict(config='{{ fileDirname }}/supcon-encoder_r50_cifar10-lt-if1_1000e.py')
)
