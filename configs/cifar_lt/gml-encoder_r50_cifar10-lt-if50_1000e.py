# Table 7, GML, first stage, imbalance factor 50.
_base_ = 'gml-encoder_r50_cifar10-lt-if100_1000e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=50))
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/cosine_r50_cifar10-lt-if50_500e.py'))
