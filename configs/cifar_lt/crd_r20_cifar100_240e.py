# Table 8, CIFAR-100: CRD with the numbers of its own code.
_base_ = 'kd_r20_cifar100_240e.py'
contrast = dict(
    type='lt_mm.CRDLoss',
    num_samples=50000,
    dim=128,
    num_negatives=16384,
    temperature=0.07,
    loss_weight=0.8,
)
model = dict(head=dict(loss=dict(loss_weight=1.0), distillation=None, contrast=contrast))
