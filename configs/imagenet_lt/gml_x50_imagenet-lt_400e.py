# Table 1 (b): gamma = 0.5 and beta = 2 against overfitting (appendix A.2). How long the teacher
# trained is not said; it is the one of 90 epochs.
_base_ = 'gml_x50_imagenet-lt_90e.py'
model = dict(head=dict(loss=dict(loss_weight=0.5), contrast=dict(loss_weight=2.0)))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=400)]
train_cfg = dict(max_epochs=400)
