# Table 7 of MiSLAS, ResNet-50, first stage of cRT and LWS: cross-entropy.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50_linear.py',
    '../_base_/schedules/mislas_180e.py',
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.pipelines.jitter))
val_evaluator = [dict(type='lt_mm.LongTailAccuracy'), dict(type='lt_mm.CalibrationError')]
test_evaluator = val_evaluator
# The deeper networks of the table, here and in the configs that inherit from this one.
variants = dict(
    r101=dict(model=dict(backbone=dict(depth=101))), r152=dict(model=dict(backbone=dict(depth=152)))
)
