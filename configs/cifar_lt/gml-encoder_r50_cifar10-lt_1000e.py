# Table 7, GML, first stage: the encoder, by L_GML alone. Appendix A.2 takes SupCon's settings, so
# also its MLP and temperature; k and k_m are those of CIFAR in Table A.1. (A.2 calls it Table 6.)
_base_ = 'supcon-encoder_r50_cifar10-lt_1000e.py'
earlier_stages = dict(
    teacher=dict(config='{{ fileDirname }}/cosine_r50_cifar10-lt_500e.py', gives='teacher')
)
contrast = dict(
    type='lt_mm.GMLLoss', size=4096, min_size=2, widths=(2048, 128), mixture_temperature=0.1
)
model = dict(
    teacher=dict(),
    head=dict(classifier='cosine', contrast=dict(_delete_=True, **contrast)),
)
