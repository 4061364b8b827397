# RIDE of four experts on ImageNet-LT, ResNeXt-50, distilled from six.
_base_ = 'ride_x50_imagenet-lt_100e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ride-six_x50_imagenet-lt_100e.py', gives='teacher')
)
head = dict(experts=[dict()] * 4, distillation=dict(type='lt_mm.KDLoss', temperature=1.5))
backbone = dict(num_experts=4)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), backbone=backbone, head=head)
