# SADE on ImageNet-LT whose experts tools/test.py weighs for the test set, without its labels, with
# the optimiser of the training. It trains as SADE does and takes its checkpoints.
_base_ = 'sade_x50_imagenet-lt_180e.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='lt_mm.TestTimeAggregationHook',
        max_epochs=5,
        pipeline=_base_.pipelines.aggregation,
        optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=5e-4, nesterov=True),
    ),
]
test_dataloader = dict(batch_size=128)
