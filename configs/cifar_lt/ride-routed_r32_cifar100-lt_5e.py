# Second stage of RIDE on CIFAR-100-LT: routers, on balanced batches of 512.
_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet_cifar_experts.py',
    '../_base_/models/ride.py',
    '../_base_/schedules/ride_routing_5e.py',
]
earlier_stages = dict(
    stage1=dict(config='{{ fileDirname }}/ride_r32_cifar100-lt_200e.py', gives='weights')
)
head = dict(**_base_.ride_of_cifar, **_base_.routed, routers=dict(top_k=30))
model = dict(type='lt_mm.LongTailClassifier', freeze_encoder=True, head=head)
dataset = dict(pipeline=_base_.pipelines.crop_rotate)
train_dataloader = dict(batch_size=512, sampler=_base_.balanced_sampler, dataset=dataset)
val_evaluator = test_evaluator = _base_.evaluators.routed
