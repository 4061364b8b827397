# SADE on CIFAR-100-LT whose experts tools/test.py weighs for the test set, without its labels. It
# trains as SADE does and takes its checkpoints.
_base_ = 'sade_r32_cifar100-lt_200e.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='lt_mm.TestTimeAggregationHook',
        max_epochs=5,
        pipeline=_base_.pipelines.aggregation,
    ),
]
test_dataloader = dict(batch_size=128)
