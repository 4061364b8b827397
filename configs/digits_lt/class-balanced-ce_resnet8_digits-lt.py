# Cross-entropy weighted by effective numbers.
_base_ = 'ce_resnet8_digits-lt.py'
weights = dict(type='effective_number', beta=0.9999)
loss = dict(_delete_=True, type='lt_mm.WeightedCrossEntropyLoss', class_weight=weights)
model = dict(head=dict(loss=loss))
