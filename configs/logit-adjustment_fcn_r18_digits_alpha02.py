_base_ = 'balanced-softmax_fcn_r18_digits.py'
model = dict(decode_head=dict(loss_decode=dict(alpha=0.2)))
