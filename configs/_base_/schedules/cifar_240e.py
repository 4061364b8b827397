# Of CRD (Tian et al., ICLR 2020), whose settings appendix A.2 of the GML paper takes for Table 8.
_base_ = 'cifar_200e.py'
param_scheduler = [dict(type='MultiStepLR', milestones=[150, 180, 210], gamma=0.1)]
train_cfg = dict(max_epochs=240)
