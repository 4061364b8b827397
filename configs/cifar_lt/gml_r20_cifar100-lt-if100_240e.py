# Table 8, CIFAR-100-LT: GML. Training is the baselines' (appendix A.2) with their augmentation for
# every view; k, k_m, the MLP, the temperatures and weights, of which Table 8 says nothing, are
# Table 3's.
_base_ = 'cosine_r20_cifar100-lt-if100_240e.py'
model = dict(
    type='lt_mm.GMLClassifier',
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt-if100_240e.py'),
    head=dict(
        type='lt_mm.GMLClsHead',
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=1.0),
        gml=dict(size=4096, min_size=2, widths=(64, 32), temperature=0.1, loss_weight=1.0),
        distillation=dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=1.0),
    ),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.crop_3views))
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r56_cifar100-lt-if100_240e.py', gives='teacher')
)
