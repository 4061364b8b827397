# SADE on ImageNet-LT with the settings of its public configs: batch 64 as 2 x 32.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50_experts.py',
    '../_base_/schedules/mislas_180e.py',
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
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.jitter))
optim_wrapper = dict(optimizer=dict(lr=0.025, weight_decay=5e-4, nesterov=True))
auto_scale_lr = dict(base_batch_size=64)
val_evaluator = [dict(type='lt_mm.ExpertAccuracy'), dict(type='lt_mm.CalibrationError')]
test_evaluator = val_evaluator
