# cRT: a new classifier on a frozen encoder, under a class-balanced sampler. As in the public code,
# the statistics of batch normalisation follow the sampler.
_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet8_digits.py',
    '../_base_/schedules/digits_stage2_20e.py',
    '../_base_/digits_runtime.py',
]
earlier_stages = dict(
    stage1=dict(
        config='{{ fileDirname }}/ce_resnet8_digits-lt.py',
        gives='weights',
        cfg_options=_base_.first_stage,
    )
)
model = dict(type='lt_mm.DecoupledClassifier', frozen_batch_norm='statistics')
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='lt_mm.ReinitializeHook', parts=['head.fc']),
]
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler'))
