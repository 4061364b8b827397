# Two components: class weights, and what a class-balanced draw of the training set makes of each image.
# Both from epoch 80 on, as the class weights of ldam-drw.
_base_ = 'ce_resnet8_digits-lt.py'
meta = dict(type='lt_mm.MetaReweighting')
begin = dict(type='lt_mm.DeferredHook', begin=80)
custom_hooks = [*_base_.custom_hooks, begin, meta]
