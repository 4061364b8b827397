# Table 8, CIFAR-100-LT: CRD with the numbers of its own code, but for fewer
# negatives: 16384 are more than there are images.
_base_ = 'cosine_r20_cifar100-lt_240e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt_240e.py', gives='teacher')
)
contrast = dict(
    type='lt_mm.CRDLoss',
    num_samples=10847,
    dim=128,
    num_negatives=8192,
    temperature=0.07,
    loss_weight=0.8,
)
model = dict(type='lt_mm.LongTailClassifier', teacher=dict(), head=dict(contrast=contrast))
variants = dict(
    if50=dict(model=dict(head=dict(contrast=dict(num_samples=12608)))),
    if10=dict(model=dict(head=dict(contrast=dict(num_samples=19573)))),
)
