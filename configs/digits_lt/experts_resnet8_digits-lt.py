# Three experts of 3/4 of the width, each trained by cross-entropy and blind to the others; the
# prior is taken off at the test. What the methods with experts build on.
_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet8_experts.py',
    '../_base_/schedules/digits_100e.py',
    '../_base_/digits_runtime.py',
]
model = dict(head=dict(post_compensation=dict()))
val_evaluator = test_evaluator = _base_.evaluators.experts
