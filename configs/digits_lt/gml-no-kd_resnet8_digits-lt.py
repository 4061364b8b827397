_base_ = 'gml_resnet8_digits-lt.py'
model = dict(head=dict(distillation=None))
