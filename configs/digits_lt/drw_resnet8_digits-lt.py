# The control: class weights alone.
_base_ = 'meta_resnet8_digits-lt.py'
custom_hooks = [*_base_.custom_hooks[:-1], dict(_base_.meta, strength=0.0)]
