# RIDE of four experts on ImageNet-LT, ResNeXt-50, distilled from six. All losses count once an
# expert, as in the public code: four times.
_base_ = 'ride_x50_imagenet-lt_100e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ride-six_x50_imagenet-lt_100e.py', gives='teacher')
)
head = dict(
    experts=[dict()] * 4,
    loss=dict(loss_weight=4.0),
    interplay=dict(loss_weight=4 * -0.2),
    distillation=dict(type='lt_mm.KDLoss', temperature=1.5, loss_weight=4.0),
)
backbone = dict(num_experts=4)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), backbone=backbone, head=head)
