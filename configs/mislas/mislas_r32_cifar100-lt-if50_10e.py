# Table 6 of MiSLAS, CIFAR-100-LT, imbalance factor 50.
_base_ = 'mislas_r32_cifar100-lt-if100_10e.py'
model = dict(head=dict(loss=dict(head_smoothing=0.3, tail_smoothing=0.0)))
train_dataloader = dict(dataset=dict(imbalance_factor=50))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=0.1)}))
earlier_stages = dict(stage1=dict(config='{{ fileDirname }}/ce-mixup_r32_cifar100-lt-if50_200e.py'))
