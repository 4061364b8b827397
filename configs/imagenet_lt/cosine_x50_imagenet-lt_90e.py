# Tables 6 and 8: ResNeXt-50 trained with L_cls alone. Sections 3.3 and 4.2; teachers are trained
# like their students, with the classifier's augmentation.
_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/imagenet_lt_90e.py',
]
