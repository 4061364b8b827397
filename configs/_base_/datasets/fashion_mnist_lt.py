# Long-tailed garments at 28 x 28 pixels. Validation is on the split that hyper-parameters are chosen
# on, tools/test.py on the official test images.
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
view = [dict(type='RandomCrop', crop_size=28, padding=2), dict(type='RandomFlip', prob=0.5)]
pack = dict(type='PackInputs')
data = dict(type='lt_mm.FashionMNISTLT', data_root='data/fashion_mnist')
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    dataset=dict(**data, split='train', imbalance_factor=100, pipeline=[*view, pack]),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(**data, split='tuning', pipeline=[pack]),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(**data, split='test', pipeline=[pack]),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
