# Table 8, CIFAR-100: CRD with the numbers of its own code.
_base_ = 'ce_r20_cifar100_240e.py'
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/ce_r56_cifar100_240e.py'),
    head=dict(
        type='lt_mm.ContrastiveClsHead',
        classifier='linear',
        contrast=dict(
            type='lt_mm.CRDLoss',
            num_samples=50000,
            dim=128,
            num_negatives=16384,
            temperature=0.07,
            loss_weight=0.8,
        ),
    ),
)
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_r56_cifar100_240e.py', gives='teacher')
)
