# Table 7, GML, first stage, imbalance factor 10.
_base_ = 'gml-encoder_r50_cifar10-lt-if100_1000e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=10))
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/cosine_r50_cifar10-lt-if10_500e.py'))
