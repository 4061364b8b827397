# One head with the FLOPs of the three of mutual_fcn_r18_digits.py.
_base_ = 'post-compensation_fcn_r18_digits.py'
model = dict(decode_head=dict(channels=192))
