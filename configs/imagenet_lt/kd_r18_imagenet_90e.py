# Table 8, ImageNet: KD weighted as in the code of CRD. The teacher is mmpretrain's published
# ResNet-34 of 73.6 %; CRD takes torchvision's, of 73.3 %.
_base_ = 'ce_r18_imagenet_90e.py'
model = dict(
    type='lt_mm.LongTailClassifier',
    teacher=dict(
        config='mmpretrain::resnet/resnet34_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/'
        'resnet34_8xb32_in1k_20210831-f257d4e6.pth',
    ),
    head=dict(
        type='lt_mm.LongTailClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.1),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=0.9),
    ),
)
