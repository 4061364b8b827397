# GML at alpha = 0.2 on repeat-factor sampling, whose frequencies are its prior.
_base_ = 'gml_efficientnet-lite0_freedoom-scenes-small_no-teacher.py'
train_dataloader = dict(
    sampler=dict(_delete_=True, type='lt_mm.RepeatFactorSampler', threshold=0.1, infinite=True)
)
variants = dict(_delete_=True)
