# tau_g learnt, as in section 4.9 of the paper; its logarithm is kept out of the weight decay.
_base_ = 'gml_fcn_r18_digits.py'
model = dict(decode_head=dict(alpha=1.0, contrast=dict(trainable_temperature=True)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'log_temperature': dict(decay_mult=0.0)}))
