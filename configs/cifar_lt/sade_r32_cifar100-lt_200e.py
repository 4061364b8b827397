# SADE on CIFAR-100-LT with the settings of its public configs: experts for the long-tailed, the
# uniform and the inversely long-tailed distribution.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/schedules/cifar_200e.py',
]
model = dict(
    head=dict(
        classifier='cosine',
        temperature=1 / 30,
        loss=[
            dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
            dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0),
            dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0, backward=2.0),
        ],
    )
)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop_rotate))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=5e-4, nesterov=True))
auto_scale_lr = dict(base_batch_size=128)
val_evaluator = [dict(type='lt_mm.ExpertAccuracy'), dict(type='lt_mm.CalibrationError')]
test_evaluator = val_evaluator
