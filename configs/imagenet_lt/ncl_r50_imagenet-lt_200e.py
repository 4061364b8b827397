# NCL on ImageNet-LT with the settings of its public config: three whole networks, cosines times 16,
# 64 images a process, of which there are taken to be four. Views with RandAugment, as its code has
# them in place of those that the config names.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_experts.py',
    '../_base_/schedules/mislas_180e.py',
]
model = dict(
    backbone=dict(shared_stages=-1, width_factor=1.0),
    head=dict(
        in_channels=2048,
        classifier='cosine',
        classifier_temperature=1 / 16,
        # Short vectors to begin with, as those of a linear classifier.
        init_cfg=dict(type='Normal', std=0.01, override=dict(name='fc')),
        loss=dict(alpha=1.0),
        interplay=dict(type='lt_mm.HardCategoryLoss', num_hard=300, detach=False),
    ),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=2e-4, nesterov=True))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-4, begin=0, end=200)]
train_cfg = dict(max_epochs=200)
sync_bn = 'torch'
val_evaluator = test_evaluator = _base_.evaluators.experts
