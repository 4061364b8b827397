_base_ = 'ce_resnet8_digits-lt.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_resnet8_digits-lt.py', gives='teacher')
)
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/ce_resnet8_digits-lt.py'),
    head=dict(
        type='lt_mm.ContrastiveClsHead',
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.2),
    ),
)
