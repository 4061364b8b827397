# Margins on a cosine classifier, whose temperature is one over the scale.
_base_ = 'cosine_fcn_r18_digits.py'
model = dict(
    decode_head=dict(loss_decode=dict(_delete_=True, type='lt_mm.LDAMLoss', scale=20.0))
)
