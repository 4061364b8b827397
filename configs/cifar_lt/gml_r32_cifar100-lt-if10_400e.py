# Table 3 (b): GML, imbalance factor 10.
_base_ = 'gml_r32_cifar100-lt-if100_400e.py'
train_dataloader = dict(dataset=dict(imbalance_factor=10))
earlier_stages = dict(teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt-if10_200e.py'))
