# Keys by the student itself. The classifier is linear: the cosine one did no better here.
_base_ = 'balanced-softmax_resnet8_digits-lt.py'
contrast = dict(
    type='lt_mm.GMLLoss', size=256, min_size=2, widths=(64, 32), mixture_temperature=0.1
)
model = dict(type='lt_mm.LongTailClassifier', head=dict(contrast=contrast))
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.three_views))
