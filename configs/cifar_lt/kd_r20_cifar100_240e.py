# Table 8, CIFAR-100: KD, weighted as in the code of CRD (0.1 and 0.9, T = 4).
_base_ = 'ce_r20_cifar100_240e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_r56_cifar100_240e.py', gives='teacher')
)
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(),
    head=dict(
        type='lt_mm.LongTailClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.1),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.9),
    ),
)
