# Table 8, ImageNet-LT: CRD beside L_cls, with the numbers of its own code.
_base_ = 'cosine_x50_imagenet-lt_90e.py'
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/cosine_x101_imagenet-lt_90e.py'),
    head=dict(
        type='lt_mm.ContrastiveClsHead',
        contrast=dict(
            type='lt_mm.CRDLoss',
            num_samples=115846,
            dim=128,
            num_negatives=16384,
            temperature=0.07,
            loss_weight=0.8,
        ),
    ),
)
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_x101_imagenet-lt_90e.py', gives='teacher')
)
