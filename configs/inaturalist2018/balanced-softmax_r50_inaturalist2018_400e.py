# Table 2, balanced softmax as PaCo's paper, where the number comes from, trains it: like PaCo, with
# RandAugment.
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/paco_400e.py',
]
model = dict(
    head=dict(
        _delete_=True,
        type='LinearClsHead',
        num_classes=8142,
        in_channels=2048,
        loss=dict(type='lt_mm.LogitAdjustedLoss'),
    )
)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
