# Table 7, GML, second stage, imbalance factor 50.
_base_ = 'gml_r50_cifar10-lt-if100_100e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
earlier_stages = dict(
    encoder=dict(config='{{ fileDirname }}/gml-encoder_r50_cifar10-lt-if50_1000e.py')
)
