# Table 8, CIFAR-100-LT: GML, as on CIFAR-100, with the imbalance factor and the teacher of the
# other rows, and the temperature of their classifier.
_base_ = 'gml_r20_cifar100_240e.py'
model = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py'),
    head=dict(temperature=1 / 30),
)
train_dataloader = dict(dataset=dict(imbalance_factor=100))
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py')
)
