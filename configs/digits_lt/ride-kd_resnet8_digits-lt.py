# RIDE that also learns from the mean logits of six experts.
_base_ = 'ride_resnet8_digits-lt.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ride-six_resnet8_digits-lt.py', gives='teacher')
)
model = dict(
    type='lt_mm.DistilledClassifier',
    teacher=dict(config='{{ fileDirname }}/ride-six_resnet8_digits-lt.py'),
    distillation=dict(type='lt_mm.KDLoss', temperature=1.5),
)
