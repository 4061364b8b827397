# The constants of the paper: a step of gradient descent, whose weights are near the class weights.
_base_ = 'meta_resnet8_digits-lt.py'
meta = dict(
    _base_.meta, engine='jvp', step='gradient', strength=0.01, floor=None, virtual_step=True
)
custom_hooks = [*_base_.custom_hooks[:-1], meta]
