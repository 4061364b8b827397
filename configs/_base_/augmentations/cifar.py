# Augmentations of the CIFAR experiments. `pipelines` are ready to use, named by their views: the
# first is the classifier's, the last two are those of the contrastive loss.
_base_ = 'autoaugment_cifar.py'
# "Autoaug" of Table A.1, as the public code of PaCo, BCL and GML has it. Cutout comes before
# normalisation there, so the hole is black.
autoaug_view = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='AutoAugment', policies=_base_.policies_cifar),
    dict(type='Cutout', shape=16, pad_val=0, prob=1.0),
]
# SimCLR at 32 x 32, of SupCon (Khosla et al., 2020). PaCo adds a blur, BCL and SupCon do not.
sim_view = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandomApply',
        transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        ],
        prob=0.8,
    ),
    # The images of CIFAR are RGB.
    dict(
        type='RandomGrayscale',
        prob=0.2,
        keep_channels=True,
        channel_weights=(0.2989, 0.587, 0.114),
        color_format='rgb',
    ),
]
blur = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5)
# Of CRD (Tian et al., 2020) and before it of He et al.
crop_view = autoaug_view[:2]
# Of RIDE and SADE: by up to 15 degrees, with black corners.
rotated_view = [
    *crop_view,
    dict(
        type='Rotate',
        magnitude_range=(0.0, 15.0),
        magnitude_level=10,
        magnitude_std='inf',
        pad_val=0,
        prob=1.0,
    ),
]
# Of SADE's aggregation at test time: SimCLR on a crop that keeps its size, seldom blurred.
aggregation_view = [*crop_view, *sim_view[2:], dict(blur, prob=0.2)]
# Of SupCon's cross-entropy baseline and of its linear classifier.
resized_crop_view = sim_view[:2]

pack = dict(type='PackInputs')
pipelines = dict(
    autoaug=[*autoaug_view, pack],
    autoaug_3views=[dict(type='MultiView', num_views=3, transforms=[autoaug_view]), pack],
    autoaug_sim_sim=[
        dict(type='MultiView', num_views=[1, 2], transforms=[autoaug_view, sim_view]),
        pack,
    ],
    autoaug_simblur=[
        dict(type='MultiView', num_views=[1, 1], transforms=[autoaug_view, [*sim_view, blur]]),
        pack,
    ],
    sim_2views=[dict(type='MultiView', num_views=2, transforms=[sim_view]), pack],
    crop=[*crop_view, pack],
    crop_rotate=[*rotated_view, pack],
    crop_3views=[dict(type='MultiView', num_views=3, transforms=[crop_view]), pack],
    resized_crop=[*resized_crop_view, pack],
    aggregation=[*aggregation_view, pack],
    test=[pack],
)
