# Table 2 (b): 400 epochs. How long the teacher trained is not said; it is the one of 100 epochs.
_base_ = 'gml_r50_inaturalist2018_100e.py'
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, end=400)]
train_cfg = dict(max_epochs=400)
