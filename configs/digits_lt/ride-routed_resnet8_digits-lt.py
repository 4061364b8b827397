# RIDE's second stage: routers learn, on balanced batches, how many of the frozen experts an image
# asks. The first is RIDE as it is, all 100 epochs of it, since routers teach the experts nothing.
_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet8_experts.py',
    '../_base_/models/ride.py',
    '../_base_/schedules/digits_stage2_20e.py',
    '../_base_/digits_runtime.py',
]
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ride_resnet8_digits-lt.py', gives='weights')
)
head = dict(**_base_.ride, **_base_.routed, routers=dict(top_k=5))
model = dict(type='lt_mm.LongTailClassifier', freeze_encoder=True, head=head)
train_dataloader = dict(sampler=_base_.balanced_sampler)
val_evaluator = test_evaluator = _base_.evaluators.routed
