# SADE whose experts are weighed for the test set, without its labels. It trains as SADE does and
# takes its checkpoints; the weights are learnt by tools/test.py.
_base_ = 'sade_resnet8_digits-lt.py'
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.TestTimeAggregationHook')]
