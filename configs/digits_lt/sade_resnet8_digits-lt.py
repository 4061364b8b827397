# SADE: experts for the long-tailed, the uniform and the inversely long-tailed distribution.
_base_ = ['experts_resnet8_digits-lt.py', '../_base_/models/sade.py']
model = dict(head=dict(_base_.sade, post_compensation=None))
optim_wrapper = dict(optimizer=dict(lr=0.1))
