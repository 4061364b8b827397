_base_ = 'ce_resnet8_digits-lt.py'
earlier_stages = dict(teacher=dict(config='ce_resnet8_digits-lt.py', gives='teacher'))
model = dict(
    type='lt_mm.GMLClassifier',
    head=dict(
        type='lt_mm.ContrastiveClsHead',
        contrast=dict(type='lt_mm.CRDLoss', num_samples=314, num_negatives=128, dim=32)))
