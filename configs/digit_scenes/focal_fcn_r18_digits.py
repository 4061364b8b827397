_base_ = 'ce_fcn_r18_digits.py'
model = dict(decode_head=dict(loss_decode=dict(_delete_=True, type='lt_mm.FocalLoss', gamma=2.0)))
