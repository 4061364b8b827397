default_scope = 'mmpretrain'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # No save_best: where validation runs on the test split, what counts is the last epoch.
    checkpoint=dict(type='lt_mm.SafeCheckpointHook', interval=1, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends, name='visualizer')
log_level = 'INFO'
load_from = None
resume = False
custom_hooks = [
    dict(type='lt_mm.ClassCountsHook'),
    dict(type='lt_mm.RandomStateHook'),
    dict(type='lt_mm.TrainingGuardHook'),
]
val_evaluator = dict(type='lt_mm.LongTailAccuracy')
test_evaluator = val_evaluator
# Others to choose from.
evaluators = dict(
    calibrated=[dict(type='lt_mm.LongTailAccuracy'), dict(type='lt_mm.CalibrationError')],
    experts=[dict(type='lt_mm.ExpertAccuracy'), dict(type='lt_mm.CalibrationError')],
    routed=[
        dict(type='lt_mm.LongTailAccuracy'),
        dict(type='lt_mm.CalibrationError'),
        dict(type='lt_mm.ExpertUsage'),
    ],
)
