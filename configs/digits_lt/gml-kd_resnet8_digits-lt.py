# With L_KD besides, as the paper's experiments on CIFAR have it.
_base_ = 'gml_resnet8_digits-lt.py'
model = dict(head=dict(distillation=dict(type='lt_mm.KDLoss', temperature=4.0)))
