# Margins on a cosine classifier, whose temperature is one over the scale; weights after 80 epochs,
# of which the authors' code divides by the sum.
_base_ = 'cosine_resnet8_digits-lt.py'
weights = dict(type='effective_number', beta=0.9999)
loss = dict(
    _delete_=True, type='lt_mm.LDAMLoss', scale=30.0, class_weight=weights, average='weights'
)
model = dict(head=dict(loss=loss))
custom_hooks = [*_base_.custom_hooks, dict(type='lt_mm.DeferredHook', begin=80)]
