# Table 6 of MiSLAS, CIFAR-10-LT; batch normalisation is not shifted, as in its public settings.
_base_ = 'mislas_r32_cifar100-lt_10e.py'
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r32_cifar10-lt_200e.py'))
model = dict(
    frozen_batch_norm='eval',
    head=dict(num_classes=10, loss=dict(head_smoothing=0.3, tail_smoothing=0.0)),
)
data_preprocessor = dict(num_classes=10)
of_cifar10 = dict(dataset=dict(type='lt_mm.CIFAR10LT', data_root='data/cifar10'))
train_dataloader = val_dataloader = test_dataloader = of_cifar10
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.5)}))
slower_classifier = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.2)}))
variants = dict(
    if50=dict(
        model=dict(head=dict(loss=dict(head_smoothing=0.2))), optim_wrapper=slower_classifier
    ),
    if10=dict(
        model=dict(head=dict(loss=dict(head_smoothing=0.1))), optim_wrapper=slower_classifier
    ),
)
