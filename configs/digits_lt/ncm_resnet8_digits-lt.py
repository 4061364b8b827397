# Cross-entropy, and the nearest class mean at the test.
_base_ = 'ce_resnet8_digits-lt.py'
model = dict(head=dict(classifier='class_means'))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.ClassMeansHook')]
