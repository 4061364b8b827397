# GML on class-weighted cross-entropy; the weights do what the prior would do, so alpha is 0.
_base_ = 'gml_efficientnet-lite0_freedoom-scenes-small_no-teacher.py'
weights = dict(type='inverse', power=0.5)
loss = dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=weights)
model = dict(decode_head=dict(alpha=0.0, loss_decode=dict(_delete_=True, **loss)))
variants = dict(_delete_=True)
