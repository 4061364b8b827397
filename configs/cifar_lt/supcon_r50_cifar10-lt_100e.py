# Table 7, SupCon, second stage: a linear classifier on the frozen encoder.
_base_ = 'gml_r50_cifar10-lt_100e.py'
head = dict(type='lt_mm.LongTailClsHead', num_classes=10, in_channels=2048)
model = dict(head=dict(_delete_=True, **head))
earlier_stages = dict(
    encoder=dict(config='{{ fileDirname }}/supcon-encoder_r50_cifar10-lt_1000e.py')
)
