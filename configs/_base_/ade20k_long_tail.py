# What the ADE20K experiments share: packaged pixel counts, the published class groups, and the
# settings of section 4.8 of the GML paper. The alpha of the decode head is the auxiliary head's, too.
custom_hooks = [
    dict(type='lt_mm.ClassCountsHook', class_counts='ade20k_pixels'),
    dict(type='lt_mm.RandomStateHook'),
    dict(type='lt_mm.TrainingGuardHook'),
]
long_tail_evaluator = dict(
    type='lt_mm.LongTailIoUMetric',
    iou_metrics=['mIoU'],
    class_counts='ade20k_pixels',
    groups=dict(sizes=(20, 55, 75), by='index'),
)
adjusted = dict(_delete_=True, type='lt_mm.LogitAdjustedLoss')
cosine = dict(alpha=0.2, classifier_temperature=0.05, loss_decode=adjusted)
gml = dict(
    **cosine, contrast=dict(size=8192, min_size=27, mixture_temperature=0.07, widths=(512, 256))
)
auxiliary_cosine = dict(
    type='lt_mm.CosineFCNHead',
    classifier_temperature=0.05,
    loss_decode=dict(adjusted, loss_weight=0.4),
)
