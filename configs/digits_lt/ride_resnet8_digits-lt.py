# RIDE: LDAM-DRW for each expert, and experts that keep away from their mean, with the factors of
# CIFAR-100-LT. Weights of classes and their temperatures set in after 80 epochs.
_base_ = ['experts_resnet8_digits-lt.py', '../_base_/models/ride.py']
model = dict(head=dict(_base_.ride, post_compensation=None))
optim_wrapper = dict(optimizer=dict(lr=0.1))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=80)]
