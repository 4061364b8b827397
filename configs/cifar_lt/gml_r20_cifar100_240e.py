# Table 8, CIFAR-100: GML. Training is the baselines' (appendix A.2) with their augmentation for
# every view; k, k_m, the MLP, the temperatures and weights, of which Table 8 says nothing, are
# Table 3's.
_base_ = [
    '../_base_/datasets/cifar100.py',
    '../_base_/models/resnet_cifar_gml.py',
    '../_base_/schedules/cifar_240e.py',
]
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/ce_r56_cifar100_240e.py', gives='teacher')
)
model = dict(backbone=dict(depth=20, shortcut='B'))
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.crop_3views))
