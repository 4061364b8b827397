# Table 7, GML, second stage: the cosine classifier by L_cls, on the frozen encoder.
_base_ = [
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet50_cifar10.py',
    '../_base_/schedules/supcon_linear_100e.py',
]
model = dict(type='lt_mm.LongTailClassifier', freeze_encoder=True)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.resized_crop))
earlier_stages = dict(
    encoder=dict(config='{{ fileDirname }}/gml-encoder_r50_cifar10-lt_1000e.py', gives='weights')
)
