# The control: conditional weights of the same spread, each given to another image.
_base_ = 'meta_resnet8_digits-lt.py'
custom_hooks = [*_base_.custom_hooks[:-1], dict(_base_.meta, permuted=True)]
