# Table 7 of MiSLAS: cRT. A new classifier, learnt on balanced batches.
_base_ = 'lws_r50_imagenet-lt_10e.py'
model = dict(head=dict(alignment=None, freeze_classifier=False))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.ReinitializeHook', parts=['head.fc'])]
