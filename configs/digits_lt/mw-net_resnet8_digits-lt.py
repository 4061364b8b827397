# Meta-Weight-Net, from epoch 80 on.
_base_ = 'meta_resnet8_digits-lt.py'
custom_hooks = [*_base_.custom_hooks[:-1], dict(_base_.meta, mode='mw_net', engine='jvp')]
