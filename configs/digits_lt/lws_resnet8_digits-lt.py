# LWS of Kang et al.: one factor a class on a frozen network, under a class-balanced sampler.
_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet8_digits.py',
    '../_base_/models/second_stage.py',
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
model = _base_.lws
train_dataloader = dict(sampler=_base_.balanced_sampler)
