# RIDE that also learns from the mean logits of six experts.
_base_ = 'ride_resnet8_digits-lt.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ride-six_resnet8_digits-lt.py', gives='teacher')
)
distillation = dict(type='lt_mm.KDLoss', temperature=1.5)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), head=dict(distillation=distillation))
