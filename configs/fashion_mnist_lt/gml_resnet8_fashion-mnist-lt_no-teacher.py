# GML without a teacher on one view of each image, and settings to be compared.
_base_ = 'balanced-softmax_resnet8_fashion-mnist-lt.py'
contrast = dict(
    type='lt_mm.GMLLoss', size=2048, min_size=2, widths=(64, 32), mixture_temperature=0.1
)
model = dict(type='lt_mm.LongTailClassifier', head=dict(contrast=contrast))
cosine = dict(classifier='cosine', classifier_temperature=0.05)
three_views = [
    dict(type='MultiView', num_views=3, transforms=[_base_.view]),
    _base_.pack,
]
heads = dict(
    weight02=dict(contrast=dict(loss_weight=0.2)),
    bn1=dict(contrast=dict(norm=dict(type='BN1d'))),
    cosine1=cosine,
    temperature02=dict(contrast=dict(mixture_temperature=0.2)),
)
views3 = dict(
    data_preprocessor=dict(type='SelfSupDataPreprocessor'),
    train_dataloader=dict(dataset=dict(pipeline=three_views)),
)
# The classifier and the views of the paper.
paper1 = dict(views3, model=dict(head=cosine))
variants = dict(
    _delete_=True,
    views3=views3,
    paper1=paper1,
    **{name: dict(model=dict(head=head)) for name, head in heads.items()},
)
