# Tables 1, 5, 6 and 8: the teacher ResNeXt-101. The paper does not print its width; 32x8d is that
# of its public code.
_base_ = 'cosine_x50_imagenet-lt_90e.py'
model = dict(backbone=dict(depth=101, width_per_group=8))
