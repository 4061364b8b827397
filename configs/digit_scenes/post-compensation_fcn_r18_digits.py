# Cross-entropy, and the prior taken out at the test.
_base_ = 'ce_fcn_r18_digits.py'
model = dict(decode_head=dict(type='lt_mm.LongTailHead', base='FCNHead', post_compensation=dict()))
