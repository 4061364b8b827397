# Accuracy and calibration. 114, 73 and 47 training images are many here; 8, 5, 3 and 2 are few.
_base_ = 'default_runtime_cls.py'
groups = dict(many_above=40, few_below=10)
accuracy = dict(type='lt_mm.LongTailAccuracy', groups=groups)
calibration = dict(type='lt_mm.CalibrationError', groups=groups)
evaluators = dict(
    calibrated=[accuracy, calibration],
    experts=[dict(type='lt_mm.ExpertAccuracy', groups=groups), calibration],
    routed=[accuracy, calibration, dict(type='lt_mm.ExpertUsage')],
)
val_evaluator = evaluators['calibrated']
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=10))
