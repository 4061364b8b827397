# Table 9, cross-entropy: mmsegmentation's own config, reported by class groups.
_base_ = ['mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py', '../_base_/ade20k_long_tail.py']
val_evaluator = _base_.long_tail_evaluator
test_evaluator = val_evaluator
