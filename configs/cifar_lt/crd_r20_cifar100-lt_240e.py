# Table 8, CIFAR-100-LT: CRD with the numbers of its own code, but for fewer
# negatives: 16384 are more than there are images.
_base_ = 'cosine_r20_cifar100-lt_240e.py'
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py'),
    head=dict(
        type='lt_mm.ContrastiveClsHead',
        contrast=dict(
            type='lt_mm.CRDLoss',
            num_samples=10847,
            dim=128,
            num_negatives=8192,
            temperature=0.07,
            loss_weight=0.8,
        ),
    ),
)
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py', gives='teacher')
)
