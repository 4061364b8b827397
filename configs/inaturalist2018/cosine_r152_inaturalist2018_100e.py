# Table 2: the teacher ResNet-152, trained with L_cls like its students; Table A.1 gives Simaug to
# the classifier.
_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/inaturalist_100e.py',
]
model = dict(backbone=dict(depth=152), head=dict(num_classes=8142))
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.sim))
