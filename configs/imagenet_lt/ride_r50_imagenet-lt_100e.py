# RIDE on ImageNet-LT, ResNet-50, with the settings of its public configs.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_experts.py',
    '../_base_/schedules/ride_100e.py',
]
model = dict(
    head=dict(
        classifier='cosine',
        temperature=1 / 30,
        loss=dict(
            type='lt_mm.LDAMLoss',
            scale=30.0,
            class_weight=dict(type='effective_number', beta=0.9999),
        ),
        interplay=dict(type='lt_mm.DiversityLoss', class_factor=0.02, loss_weight=-0.2),
    )
)
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.jitter))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=80)]
val_evaluator = [dict(type='lt_mm.ExpertAccuracy'), dict(type='lt_mm.CalibrationError')]
test_evaluator = val_evaluator
