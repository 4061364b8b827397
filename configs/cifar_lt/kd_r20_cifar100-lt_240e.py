# Table 8, CIFAR-100-LT: KD, weighted as in the code of CRD (0.1 and 0.9, T = 4).
_base_ = 'cosine_r20_cifar100-lt_240e.py'
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py'),
    head=dict(
        type='lt_mm.ContrastiveClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.1),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.9),
    ),
)
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py', gives='teacher')
)
