# RIDE: LDAM-DRW for each expert, and experts that keep away from their mean, with the factors of
# CIFAR-100-LT. Weights of classes and their temperatures set in after 80 epochs.
_base_ = 'experts_resnet8_digits-lt.py'
model = dict(
    head=dict(
        classifier='cosine',
        temperature=1 / 30,
        loss=dict(
            _delete_=True,
            type='lt_mm.LDAMLoss',
            scale=30.0,
            class_weight=dict(type='effective_number', beta=0.9999),
        ),
        interplay=dict(type='lt_mm.DiversityLoss', class_factor=0.05, loss_weight=-0.45),
        post_compensation=None,
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=80)]
