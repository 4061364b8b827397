# Table 8, CIFAR-100-LT: KD, weighted as in the code of CRD (0.1 and 0.9, T = 4).
_base_ = 'cosine_r20_cifar100-lt_240e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py', gives='teacher')
)
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(),
    head=dict(
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.1),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.9),
    ),
)
