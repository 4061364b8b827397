# RIDE on CIFAR-100-LT with the settings of its public configs: margins of LDAM, scale 30; weights
# of classes and their temperatures from epoch 160 on.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/schedules/ride_200e.py',
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
        interplay=dict(type='lt_mm.DiversityLoss', class_factor=0.05, loss_weight=-0.45),
    )
)
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.pipelines.crop_rotate))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=160)]
val_evaluator = [dict(type='lt_mm.ExpertAccuracy'), dict(type='lt_mm.CalibrationError')]
test_evaluator = val_evaluator
