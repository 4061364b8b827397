# Table 8, ImageNet: GML. Training is the baselines' (appendix A.2) with their augmentation for
# every view; k, k_m, the MLP, tau_g and tau_s, of which Table 8 says nothing, are Table 1 (a)'s.
_base_ = 'kd_r18_imagenet_90e.py'
model = dict(
    head=dict(
        type='lt_mm.GMLClsHead',
        classifier_temperature=1 / 30,
        loss=dict(loss_weight=1.0),
        distillation=None,
        contrast=dict(
            size=16384,
            min_size=2,
            widths=(2048, 1024),
            norm=dict(type='BN1d'),
            mixture_temperature=0.07,
        ),
    )
)
data_preprocessor = dict(type='SelfSupDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.pipelines.resized_crop_3views))
