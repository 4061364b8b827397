# Augmentations at 224 x 224. `pipelines` are ready to use, named by their views: the first is the
# classifier's, the last two are those of the contrastive loss.
load = dict(type='LoadImageFromFile')
pack = dict(type='PackInputs')
resized_crop_view = [
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
]
jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
grayscale = dict(
    type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)
)
blur = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5)
# rand-n2-m10-mstd0.5 of the public code of PaCo, BCL, NCL and GML. It is timm's variant that does not
# grow with the level, where mmpretrain has the increasing one, whose level 10 leaves no bit of an
# image and inverts all of it: Posterize keeps 0 to 4 bits, rounded down here and up by mmpretrain,
# Solarize inverts from 0 to 256, and enhancement is by 0.1 to 1.9.
enhancement = dict(magnitude_range=(-0.9, 0.9), random_negative_prob=0.0)
rand_augment_policies = [
    dict(type='AutoContrast'),
    dict(type='Equalize'),
    dict(type='Invert'),
    dict(type='Rotate', magnitude_range=(0, 30)),
    dict(type='Posterize', magnitude_range=(-1 + 1e-6, 3 + 1e-6)),
    dict(type='Solarize', magnitude_range=(0, 256)),
    dict(type='SolarizeAdd', magnitude_range=(0, 110)),
    dict(type='ColorTransform', **enhancement),
    dict(type='Contrast', **enhancement),
    dict(type='Brightness', **enhancement),
    dict(type='Sharpness', **enhancement),
    dict(type='Shear', magnitude_range=(0, 0.3), direction='horizontal'),
    dict(type='Shear', magnitude_range=(0, 0.3), direction='vertical'),
    dict(type='Translate', magnitude_range=(0, 0.45), direction='horizontal'),
    dict(type='Translate', magnitude_range=(0, 0.45), direction='vertical'),
]
# pad_val is the mean of ImageNet in BGR.
rand_augment = dict(
    type='RandAugment',
    policies=rand_augment_policies,
    num_policies=2,
    total_level=10,
    magnitude_level=10,
    magnitude_std=0.5,
    hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
)
# "Randaug" of Table A.1.
randaug_view = [*resized_crop_view, jitter, rand_augment]
# RandAugment on top of SimCLR, of PaCo's ResNeXt-50 and GML's public code ("randclsstack").
stacked_view = [*resized_crop_view, jitter, grayscale, blur, rand_augment]
# "Simaug" of Table A.1: SimCLR (Chen et al., 2020a) as the public code of PaCo and GML has it, every
# image jittered and the hue left alone.
sim_view = [*resized_crop_view, jitter, grayscale, blur]
# The same in the public code of BCL: the jitter of MoCo v2, and no blur.
simclr_view = [
    *resized_crop_view,
    dict(
        type='RandomApply',
        transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        ],
        prob=0.8,
    ),
    grayscale,
]
# Of SADE's aggregation at test time: MoCo v2.
aggregation_view = [
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), backend='pillow'),
    *simclr_view[1:],
    blur,
]
test_view = [
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
]

pipelines = dict(
    resized_crop=[load, *resized_crop_view, pack],
    resized_crop_3views=[
        load,
        dict(type='MultiView', num_views=3, transforms=[resized_crop_view]),
        pack,
    ],
    jitter=[load, *resized_crop_view, jitter, pack],
    randaug=[load, *randaug_view, pack],
    randaug_sim=[
        load,
        dict(type='MultiView', num_views=[1, 1], transforms=[randaug_view, sim_view]),
        pack,
    ],
    randaug_sim_sim=[
        load,
        dict(type='MultiView', num_views=[1, 2], transforms=[randaug_view, sim_view]),
        pack,
    ],
    randaug_simclr_simclr=[
        load,
        dict(type='MultiView', num_views=[1, 2], transforms=[randaug_view, simclr_view]),
        pack,
    ],
    randaug_stacked_stacked=[
        load,
        dict(type='MultiView', num_views=[1, 2], transforms=[randaug_view, stacked_view]),
        pack,
    ],
    stacked_sim=[
        load,
        dict(type='MultiView', num_views=[1, 1], transforms=[stacked_view, sim_view]),
        pack,
    ],
    sim=[load, *sim_view, pack],
    sim_3views=[load, dict(type='MultiView', num_views=3, transforms=[sim_view]), pack],
    aggregation=[load, *aggregation_view, pack],
    test=[load, *test_view, pack],
)
