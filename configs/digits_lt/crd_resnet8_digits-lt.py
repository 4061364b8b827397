_base_ = 'ce_resnet8_digits-lt.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_resnet8_digits-lt.py', gives='teacher')
)
contrast = dict(type='lt_mm.CRDLoss', num_samples=314, num_negatives=128, dim=32, loss_weight=0.1)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), head=dict(contrast=contrast))
