# What every ADE20K experiment shares: packaged pixel counts, and the published class groups.
custom_hooks = [dict(type='lt_mm.ClassCountsHook', class_counts='ade20k_pixels')]
val_evaluator = dict(
    type='lt_mm.LongTailIoUMetric',
    iou_metrics=['mIoU'],
    class_counts='ade20k_pixels',
    group_by='index',
    group_sizes=(20, 55, 75))
test_evaluator = val_evaluator
