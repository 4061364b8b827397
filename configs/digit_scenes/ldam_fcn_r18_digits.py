# Margins on a cosine classifier, whose temperature is one over the scale.
_base_ = 'ce_fcn_r18_digits.py'
model = dict(
    decode_head=dict(
        type='lt_mm.CosineFCNHead',
        classifier_temperature=0.05,
        loss_decode=dict(_delete_=True, type='lt_mm.LDAMLoss', scale=20.0),
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
