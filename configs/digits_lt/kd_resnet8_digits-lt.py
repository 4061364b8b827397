_base_ = 'ce_resnet8_digits-lt.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_resnet8_digits-lt.py', gives='teacher')
)
distillation = dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.2)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), head=dict(distillation=distillation))
