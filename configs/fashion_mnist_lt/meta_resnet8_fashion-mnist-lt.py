# Two components, both in the last two of the six epochs, and what they are to be compared with.
_base_ = 'ce_resnet8_fashion-mnist-lt.py'
meta = dict(type='lt_mm.MetaReweighting')
hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=4)]
custom_hooks = [*hooks, meta]
settings = dict(
    # Class weights alone.
    drw1=dict(strength=0.0),
    # Conditional weights of the same spread, each given to another image.
    permuted1=dict(permuted=True),
    lrw2=dict(mode='l2rw', engine='jvp'),
    mwnet1=dict(mode='mw_net', engine='jvp'),
    cmwnet1=dict(mode='cmw_net', engine='jvp'),
)
sampler = dict(_delete_=True, type='lt_mm.ClassBalancedSampler', deferred=True)
variants = dict(
    _delete_=True,
    finetuning1=dict(custom_hooks=hooks, train_dataloader=dict(sampler=sampler)),
    **{name: dict(custom_hooks=[*hooks, dict(meta, **own)]) for name, own in settings.items()},
)
