# Of BCL (Zhu et al., CVPR 2022) on ImageNet-LT: batch 256 as 8 x 32.
_base_ = 'imagenet_lt_90e.py'
optim_wrapper = dict(optimizer=dict(lr=0.1))
auto_scale_lr = dict(base_batch_size=256)
sync_bn = None
