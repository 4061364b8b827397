# Table 2 of Jamal et al., focal loss.
_base_ = 'meta_r32_cifar10-lt_200e.py'
loss = dict(_delete_=True, type='lt_mm.FocalLoss', gamma=1.0)
model = dict(head=dict(loss=loss))
