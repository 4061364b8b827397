# A config that trains in a second; DATA becomes a folder of random images.
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='LeNet5'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=2, in_channels=120, loss=dict(type='CrossEntropyLoss')
    ),
)
pipeline = [
    dict(type='LoadImageFromFile', color_type='grayscale'),
    dict(type='Resize', scale=32),
    dict(type='PackInputs'),
]
data_preprocessor = dict(mean=[0.0], std=[255.0], num_classes=2)
dataset = dict(type='CustomDataset', data_prefix='DATA', pipeline=pipeline)
train_dataloader = dict(
    batch_size=2, dataset=dataset, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True)
)
test_dataloader = dict(
    batch_size=2, dataset=dataset, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False)
)
test_evaluator = dict(type='Accuracy', topk=(1,))
test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
