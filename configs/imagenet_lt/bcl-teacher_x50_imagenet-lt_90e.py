# Table 5, BCL in the teacher-student framework. The paper does not say how: BCL compares the views
# of a batch and has no keys that a teacher could give, so the teacher's logits are distilled, as
# Table A.1 does on CIFAR (alpha = 1, T = 4).
_base_ = 'bcl_x50_imagenet-lt_90e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_x101_imagenet-lt_90e.py', gives='teacher')
)
distillation = dict(type='lt_mm.KDLoss', temperature=4.0, loss_weight=1.0)
model = dict(teacher=dict(), head=dict(distillation=distillation))
