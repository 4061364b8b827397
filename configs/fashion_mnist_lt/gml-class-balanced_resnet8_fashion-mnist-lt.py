# GML on class-balanced sampling; the sampler does what the prior would do, so alpha is 0.
_base_ = 'gml_resnet8_fashion-mnist-lt_no-teacher.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='lt_mm.ClassBalancedSampler', q=0.25))
model = dict(head=dict(loss=dict(alpha=0.0)))
