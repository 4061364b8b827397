# The 25 sub-policies that AutoAugment found on CIFAR-10 (Cubuk et al., CVPR 2019, Table 7), with
# the ten magnitudes of each operation as in torchvision. mmpretrain ships those of ImageNet only.
policies_cifar = [
    [dict(type='Invert', prob=0.1), dict(type='Contrast', magnitude=0.1 * 6, prob=0.2)],
    [
        dict(type='Rotate', angle=30 / 9 * 2, prob=0.7),
        dict(type='Translate', magnitude=150 / 331 / 9 * 9, prob=0.3, direction='horizontal'),
    ],
    [
        dict(type='Sharpness', magnitude=0.1 * 1, prob=0.8),
        dict(type='Sharpness', magnitude=0.1 * 3, prob=0.9),
    ],
    [
        dict(type='Shear', magnitude=0.3 / 9 * 8, prob=0.5, direction='vertical'),
        dict(type='Translate', magnitude=150 / 331 / 9 * 9, prob=0.7, direction='vertical'),
    ],
    [dict(type='AutoContrast', prob=0.5), dict(type='Equalize', prob=0.9)],
    [
        dict(type='Shear', magnitude=0.3 / 9 * 7, prob=0.2, direction='vertical'),
        dict(type='Posterize', bits=5, prob=0.3),
    ],
    [
        dict(type='ColorTransform', magnitude=0.1 * 3, prob=0.4),
        dict(type='Brightness', magnitude=0.1 * 7, prob=0.6),
    ],
    [
        dict(type='Sharpness', magnitude=0.1 * 9, prob=0.3),
        dict(type='Brightness', magnitude=0.1 * 9, prob=0.7),
    ],
    [dict(type='Equalize', prob=0.6), dict(type='Equalize', prob=0.5)],
    [
        dict(type='Contrast', magnitude=0.1 * 7, prob=0.6),
        dict(type='Sharpness', magnitude=0.1 * 5, prob=0.6),
    ],
    [
        dict(type='ColorTransform', magnitude=0.1 * 7, prob=0.7),
        dict(type='Translate', magnitude=150 / 331 / 9 * 8, prob=0.5, direction='horizontal'),
    ],
    [dict(type='Equalize', prob=0.3), dict(type='AutoContrast', prob=0.4)],
    [
        dict(type='Translate', magnitude=150 / 331 / 9 * 3, prob=0.4, direction='vertical'),
        dict(type='Sharpness', magnitude=0.1 * 6, prob=0.2),
    ],
    [
        dict(type='Brightness', magnitude=0.1 * 6, prob=0.9),
        dict(type='ColorTransform', magnitude=0.1 * 8, prob=0.2),
    ],
    [dict(type='Solarize', thr=256 / 9 * 7, prob=0.5), dict(type='Invert', prob=0.0)],
    [dict(type='Equalize', prob=0.2), dict(type='AutoContrast', prob=0.6)],
    [dict(type='Equalize', prob=0.2), dict(type='Equalize', prob=0.6)],
    [dict(type='ColorTransform', magnitude=0.1 * 9, prob=0.9), dict(type='Equalize', prob=0.6)],
    [dict(type='AutoContrast', prob=0.8), dict(type='Solarize', thr=256 / 9 * 1, prob=0.2)],
    [
        dict(type='Brightness', magnitude=0.1 * 3, prob=0.1),
        dict(type='ColorTransform', magnitude=0.1 * 0, prob=0.7),
    ],
    [dict(type='Solarize', thr=256 / 9 * 4, prob=0.4), dict(type='AutoContrast', prob=0.9)],
    [
        dict(type='Translate', magnitude=150 / 331 / 9 * 9, prob=0.9, direction='vertical'),
        dict(type='Translate', magnitude=150 / 331 / 9 * 9, prob=0.7, direction='vertical'),
    ],
    [dict(type='AutoContrast', prob=0.9), dict(type='Solarize', thr=256 / 9 * 6, prob=0.8)],
    [dict(type='Equalize', prob=0.8), dict(type='Invert', prob=0.1)],
    [
        dict(type='Translate', magnitude=150 / 331 / 9 * 9, prob=0.7, direction='vertical'),
        dict(type='AutoContrast', prob=0.9),
    ],
]
