# iNaturalist 2017, validated and reported on the official validation set.
_base_ = 'inaturalist2018.py'
of_2017 = dict(type='lt_mm.INaturalist2017', data_root='data/inaturalist2017')
train_dataloader = dict(dataset=dict(of_2017, ann_file='train2017.json'))
val_dataloader = dict(dataset=dict(of_2017, ann_file='val2017.json'))
test_dataloader = val_dataloader
