# The whole of CIFAR-100, which is imbalance factor 1, validated and reported on the test split, as
# everybody does for want of another. Batch sizes are per process.
_base_ = ['../augmentations/cifar.py', '../default_runtime_cls.py']
dataset_type = 'lt_mm.CIFAR100LT'
data_root = 'data/cifar100'
# Mean and standard deviation of CIFAR-100, as in the code of CRD, for Table 8 of the GML paper.
of_cifar100 = dict(
    mean=[129.3105, 124.1085, 112.404], std=[68.2125, 65.4075, 70.4055], to_rgb=False
)
data_preprocessor = of_cifar100
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        imbalance_factor=1,
        pipeline=_base_.pipelines.autoaug,
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='test', pipeline=_base_.pipelines.test
    ),
)
test_dataloader = val_dataloader
