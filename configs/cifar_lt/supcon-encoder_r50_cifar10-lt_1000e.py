# Table 7, SupCon, first stage: the encoder. There is nothing to validate before the second.
_base_ = [
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet50_cifar10.py',
    '../_base_/schedules/supcon_1000e.py',
]
model = dict(
    type='lt_mm.LongTailClassifier',
    head=dict(
        _delete_=True,
        type='lt_mm.LongTailClsHead',
        num_classes=10,
        in_channels=2048,
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.0),
        # Its public code multiplies by the temperature over a base temperature of 0.07.
        contrast=dict(
            type='lt_mm.SupConLoss', widths=(2048, 128), temperature=0.1, loss_weight=0.1 / 0.07
        ),
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.sim_2views))
# The classifier, untrained here, is to begin the second stage as it was initialised.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(decay_mult=0.0)}))
val_dataloader = val_evaluator = val_cfg = None
