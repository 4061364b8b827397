_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet8_digits.py',
    '../_base_/schedules/digits_100e.py',
    '../_base_/digits_runtime.py',
]
