# cRT: a new classifier on a frozen encoder, under a class-balanced sampler.
_base_ = 'lws_resnet8_digits-lt.py'
model = dict(head=dict(alignment=None, freeze_classifier=False))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.ReinitializeHook', parts=['head.fc'])]
