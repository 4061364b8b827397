_base_ = 'gml_fcn_r18_digits_no-teacher.py'
model = dict(decode_head=dict(alpha=1.0))
