_base_ = 'ce_resnet8_digits-lt.py'
model = dict(head=dict(loss=dict(alpha=1.0)))
