# Table 8, ImageNet-LT: CRD beside L_cls, with the numbers of its own code.
_base_ = 'cosine_x50_imagenet-lt_90e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_x101_imagenet-lt_90e.py', gives='teacher')
)
contrast = dict(
    type='lt_mm.CRDLoss',
    num_samples=115846,
    dim=128,
    num_negatives=16384,
    temperature=0.07,
    loss_weight=0.8,
)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), head=dict(contrast=contrast))
