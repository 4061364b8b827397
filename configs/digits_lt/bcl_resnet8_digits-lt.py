_base_ = 'balanced-softmax_resnet8_digits-lt.py'
contrast = dict(type='lt_mm.BCLLoss', widths=(64, 32), temperature=0.1, loss_weight=0.2)
model = dict(type='lt_mm.LongTailClassifier', head=dict(contrast=contrast))
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.three_views))
