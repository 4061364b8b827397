_base_ = 'cosine_fcn_r18_digits.py'
model = dict(decode_head=dict(loss_decode=dict(alpha=1.0)))
