# Table 7 of MiSLAS, ResNet-50: cRT. A new classifier, learnt on balanced batches.
_base_ = 'lws_r50_imagenet-lt_10e.py'
model = dict(head=dict(alignment=None, freeze_classifier=False))
custom_hooks = [
    dict(type='lt_mm.ClassCountsHook'),
    dict(type='lt_mm.RandomStateHook'),
    dict(type='lt_mm.ReinitializeHook', parts=['head.fc']),
]
