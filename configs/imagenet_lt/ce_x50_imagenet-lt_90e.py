# Plain cross-entropy on a linear classifier, the baseline; everything else as for L_cls.
_base_ = 'cosine_x50_imagenet-lt_90e.py'
model = dict(head=dict(_delete_=True, type='LinearClsHead', num_classes=1000, in_channels=2048))
