# Section 4.9: tau_g learnt, which makes 58.3 of 58.2; its logarithm is kept out of the weight decay.
_base_ = 'gml_x50_imagenet-lt_90e.py'
model = dict(head=dict(contrast=dict(trainable_temperature=True)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'log_temperature': dict(decay_mult=0.0)}))
