# Cross-entropy on the demo scenes: the baseline, and the teacher of the GML demo configs.
_base_ = [
    '../_base_/models/fcn_r18_small.py',
    '../_base_/datasets/digit_scenes.py',
    '../_base_/schedules/adamw_1500.py',
    '../_base_/default_runtime.py',
]
