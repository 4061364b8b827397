# The classifier is trained by the contrastive loss itself, so L_cls has no weight.
_base_ = 'balanced-softmax_resnet8_digits-lt.py'
contrast = dict(type='lt_mm.PaCoLoss', widths=(64, 32), size=256, temperature=0.1)
model = dict(
    type='lt_mm.LongTailClassifier',
    key_momentum=0.999,
    head=dict(loss=dict(loss_weight=0.0), contrast=contrast),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.two_views))
