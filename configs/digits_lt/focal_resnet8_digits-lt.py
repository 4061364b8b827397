_base_ = 'ce_resnet8_digits-lt.py'
model = dict(head=dict(loss=dict(_delete_=True, type='lt_mm.FocalLoss', gamma=2.0)))
