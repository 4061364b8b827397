# The gradient of all parameters, in forward mode.
_base_ = 'meta_resnet8_digits-lt.py'
custom_hooks = [*_base_.custom_hooks[:-1], dict(_base_.meta, engine='jvp')]
