# Second stage of RIDE on ImageNet-LT, ResNet-50: routers, on balanced batches of 512 as 8 x 64.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_experts.py',
    '../_base_/models/ride.py',
    '../_base_/schedules/ride_routing_5e.py',
]
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ride_r50_imagenet-lt_100e.py', gives='weights')
)
head = dict(**_base_.ride_of_photos, **_base_.routed, routers=dict(top_k=50))
model = dict(type='lt_mm.LongTailClassifier', freeze_encoder=True, head=head)
dataset = dict(pipeline=_base_.pipelines.jitter)
train_dataloader = dict(batch_size=64, sampler=_base_.balanced_sampler, dataset=dataset)
val_evaluator = test_evaluator = _base_.evaluators.routed
