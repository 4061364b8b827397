# Six epochs, 642 iterations at an imbalance of 100: 5500, 3297, 1976 and 1184 training images are many,
# 153, 91 and 55 are few. tools/compare.py makes the other methods of it.
_base_ = [
    '../_base_/datasets/fashion_mnist_lt.py',
    '../_base_/models/resnet8_digits.py',
    '../_base_/digits_runtime.py',
]
groups = dict(many_above=1000, few_below=200)
evaluator = [
    dict(type='lt_mm.LongTailAccuracy', groups=groups),
    dict(type='lt_mm.CalibrationError', groups=groups),
]
val_evaluator = evaluator
test_evaluator = evaluator
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=6, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=6)
val_cfg = dict()
test_cfg = dict()
variants = {
    f'if{factor}': dict(train_dataloader=dict(dataset=dict(imbalance_factor=factor)))
    for factor in (10, 50, 200)
}
