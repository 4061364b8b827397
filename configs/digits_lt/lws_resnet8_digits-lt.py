# LWS of Kang et al.: one factor a class on a frozen network, under a class-balanced sampler. As in
# the public code, the statistics of batch normalisation follow the sampler.
_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet8_digits.py',
    '../_base_/schedules/digits_stage2_20e.py',
    '../_base_/default_runtime_cls.py',
]
earlier_stages = dict(
    stage1=dict(
        config='{{ fileDirname }}/ce_resnet8_digits-lt.py',
        gives='weights',
        cfg_options=_base_.first_stage,
    )
)
model = dict(
    type='lt_mm.DecoupledClassifier',
    frozen_batch_norm='statistics',
    head=dict(
        type='lt_mm.DecoupledClsHead',
        alignment=dict(type='lt_mm.LearnableWeightScaling'),
        freeze_classifier=True,
    ),
)
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler'))
val_evaluator = dict(many_above=40, few_below=10)
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=10))
