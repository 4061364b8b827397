# Table 7, GML, first stage: the encoder, by L_GML alone. Appendix A.2 takes SupCon's settings, so
# also its MLP and temperature; k and k_m are those of CIFAR in Table A.1. (A.2 calls it Table 6.)
_base_ = 'supcon-encoder_r50_cifar10-lt_1000e.py'
model = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r50_cifar10-lt_500e.py'),
    head=dict(
        _delete_=True,
        type='lt_mm.GMLClsHead',
        num_classes=10,
        in_channels=2048,
        loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.0),
        gml=dict(size=4096, min_size=2, widths=(2048, 128), temperature=0.1),
    ),
)
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r50_cifar10-lt_500e.py', gives='teacher')
)
