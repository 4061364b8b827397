# GML with a teacher: the same network trained with L_cls, which is trained first, or found.
_base_ = 'cosine_resnet8_digits-lt.py'
earlier_stages = dict(teacher=dict(config='cosine_resnet8_digits-lt.py', gives='teacher'))
model = dict(
    type='lt_mm.GMLClassifier',
    head=dict(
        type='lt_mm.GMLClsHead',
        gml=dict(size=256, min_size=2, widths=(64, 32), temperature=0.1),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0)))
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.three_views))
