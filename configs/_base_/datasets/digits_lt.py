# Long-tailed digits at 16 x 16 pixels. Validation is on the split that hyper-parameters are chosen
# on, tools/test.py on the one that results are reported on.
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
resize = dict(type='Resize', scale=16)
view = [
    dict(type='RandomCrop', crop_size=16, padding=2),
    dict(type='Rotate', angle=15.0, prob=1.0),
]
one_view = [resize, *view, dict(type='PackInputs')]
two_views = [
    resize,
    dict(type='MultiView', num_views=2, transforms=[view]),
    dict(type='PackInputs'),
]
three_views = [
    resize,
    dict(type='MultiView', num_views=3, transforms=[view]),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(type='lt_mm.DigitsLT', split='train', imbalance_factor=50, pipeline=one_view),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    dataset=dict(type='lt_mm.DigitsLT', split='tuning', pipeline=[resize, dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=200,
    num_workers=0,
    dataset=dict(type='lt_mm.DigitsLT', split='test', pipeline=[resize, dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
