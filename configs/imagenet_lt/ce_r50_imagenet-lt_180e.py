# Table 7 of MiSLAS, first stage of cRT and LWS: cross-entropy. The variants, which the second
# stages have, too, are the deeper networks of that table.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/mislas_180e.py',
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.pipelines.jitter))
val_evaluator = test_evaluator = _base_.evaluators.calibrated
variants = dict(
    r101=dict(model=dict(backbone=dict(depth=101))),
    r152=dict(model=dict(backbone=dict(depth=152))),
)
