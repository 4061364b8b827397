# GML whose keys are the student's own detached features.
_base_ = 'cosine_fcn_r50_ade20k.py'
model = dict(
    decode_head=dict(
        type='lt_mm.GMLFCNHead',
        alpha=0.2,
        gml=dict(size=8192, min_size=27, temperature=0.07, widths=(512, 256)),
        loss_decode=dict(_delete_=True, type='lt_mm.LogitAdjustedLoss')))
