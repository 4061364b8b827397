# Table 8, ImageNet: CRD with the numbers of its own code. Its banks take 1.3 GB.
_base_ = 'kd_r18_imagenet_90e.py'
contrast = dict(
    type='lt_mm.CRDLoss',
    num_samples=1281167,
    dim=128,
    num_negatives=16384,
    temperature=0.07,
    loss_weight=0.8,
)
model = dict(head=dict(loss=dict(loss_weight=1.0), distillation=None, contrast=contrast))
