# RIDE on CIFAR-100-LT, distilled from six experts. The warm-up takes 20 epochs here, and all losses
# count once an expert, as in the public code: three times.
_base_ = 'ride_r32_cifar100-lt_200e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ride-six_r32_cifar100-lt_200e.py', gives='teacher')
)
head = dict(
    loss=dict(loss_weight=3.0),
    interplay=dict(loss_weight=3 * -0.45),
    distillation=dict(type='lt_mm.KDLoss', temperature=1.5, loss_weight=3.0),
)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), head=head)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01),
]
