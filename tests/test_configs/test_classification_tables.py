"""The classification configs have the numbers that the GML paper and its peers print."""

import copy
import math

import numpy as np
import pytest
from config_files import FILES, earlier, load
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from lt_mm.datasets.long_tail_profile import long_tailed_counts_of_head


def ingredients(cfg):
    """The loss of the contrast, with the names of Table A.1."""
    head = cfg.model.head
    gml = head.contrast
    distillation = head.get('distillation')
    return dict(
        k=gml.get('size'),
        k_m=gml.get('min_size'),
        mlp=(head.in_channels, *gml.widths),
        tau_g=gml.mixture_temperature,
        tau_s=head.classifier_temperature,
        gamma=head.loss.loss_weight,
        beta=gml.loss_weight,
        alpha=distillation.loss_weight if distillation else 0,
    )


# Table A.1, a row each: Arch_s, Arch_t, epochs, MLP, k, k_m, Aug_cls, Aug_GML, tau_g, tau_s, gamma,
# beta, alpha.
TABLE_A1 = [
    ('imagenet_lt/gml_x50_imagenet-lt_90e', ('ResNeXt', 50), ('ResNeXt', 101), 90)
    + ((2048, 2048, 1024), 16384, 2, 'Randaug', 'Simaug', 0.07, 1 / 30, 1, 1, 0),
    ('imagenet_lt/gml_x50_imagenet-lt_400e', ('ResNeXt', 50), ('ResNeXt', 101), 400)
    + ((2048, 2048, 1024), 16384, 2, 'Randaug', 'Simaug', 0.07, 1 / 30, 0.5, 2, 0),
    ('inaturalist2018/gml_r50_inaturalist2018_100e', ('ResNet', 50), ('ResNet', 152), 100)
    + ((2048, 2048, 1024), 65536, 2, 'Simaug', 'Simaug', 0.1, 1 / 30, 1, 1, 0),
    ('inaturalist2018/gml_r50_inaturalist2018_400e', ('ResNet', 50), ('ResNet', 152), 400)
    + ((2048, 2048, 1024), 65536, 2, 'Simaug', 'Simaug', 0.1, 1 / 30, 1, 1, 0),
    *(
        (f'cifar_lt/gml_r32_cifar100-lt_{epochs}e{variant}',)
        + (('lt_mm.ResNetCifar6n2', 32), ('lt_mm.ResNetCifar6n2', 56), epochs)
        + ((64, 64, 32), 4096, 2, 'Autoaug', 'Autoaug', 0.1, 1 / 30, 1, 1, 1)
        for epochs in (200, 400)
        for variant in ('', '@if50', '@if10')
    ),
]


def view_kinds(cfg):
    """The augmentation of each of three views, by the names of Table A.1."""
    (multi,) = [t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'MultiView']
    counts = [multi.num_views] if isinstance(multi.num_views, int) else multi.num_views
    kinds = []
    for number, view in zip(counts, multi.transforms, strict=True):
        found = {transform.type for transform in view}
        kind = 'Randaug' if 'RandAugment' in found else 'Simaug'
        kind = 'Autoaug' if {'AutoAugment', 'Cutout'} <= found else kind
        assert kind != 'Simaug' or {'RandomGrayscale', 'GaussianBlur', 'ColorJitter'} <= found
        kinds += [kind] * number
    return kinds


@pytest.mark.parametrize('row', TABLE_A1, ids=lambda row: row[0])
def test_table_a1(row):
    name, student, teacher, epochs, mlp, k, k_m, aug_cls, aug_gml = row[:9]
    cfg = load(name)
    assert (cfg.model.backbone.type, cfg.model.backbone.depth) == student
    first = load(earlier(name, 'teacher'))
    assert (first.model.backbone.type, first.model.backbone.depth) == teacher
    assert first.train_dataloader.dataset.get(
        'imbalance_factor'
    ) == cfg.train_dataloader.dataset.get('imbalance_factor')
    assert cfg.train_cfg.max_epochs == epochs
    printed = dict(zip(('tau_g', 'tau_s', 'gamma', 'beta', 'alpha'), row[9:], strict=True))
    assert ingredients(cfg) == dict(k=k, k_m=k_m, mlp=mlp, **printed)
    assert view_kinds(cfg) == [aug_cls, aug_gml, aug_gml]
    if cfg.model.head.get('distillation'):
        assert cfg.model.head.distillation.temperature == 4


@pytest.mark.parametrize(
    ('method', 'k_m', 'aug_gml'),
    [('gml-trainable-temperature', 2, 'Simaug'), ('gml-public', 3, 'Randaug')],
)
def test_table_1_with_a_temperature_that_is_learnt(method, k_m, aug_gml):
    name = f'imagenet_lt/{method}_x50_imagenet-lt_90e'
    plain, cfg = load('imagenet_lt/gml_x50_imagenet-lt_90e'), load(name)
    assert ingredients(cfg) == dict(ingredients(plain), k_m=k_m)
    assert cfg.model.head.contrast.trainable_temperature
    assert not plain.model.head.contrast.get('trainable_temperature', False)
    decay = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert decay == {'log_temperature': dict(decay_mult=0.0)}
    assert view_kinds(cfg) == ['Randaug', aug_gml, aug_gml]
    # The public code has SimCLR below it.
    assert any(step.type == 'GaussianBlur' for step in views_of(name)[-1])
    same = ('train_cfg', 'param_scheduler', 'auto_scale_lr', 'earlier_stages', 'sync_bn')
    assert all(cfg[key] == plain[key] for key in same)
    for one in (cfg, plain):
        assert one.optim_wrapper.optimizer == plain.optim_wrapper.optimizer


def is_cosine(cfg):
    (scheduler,) = cfg.param_scheduler
    return scheduler.type == 'CosineAnnealingLR' and scheduler.eta_min == 0


@pytest.mark.parametrize(
    ('name', 'batch', 'lr', 'weight_decay', 'milestones'),
    [
        *((row[0], 128, 0.05, 5e-4, None) for row in TABLE_A1[:2]),
        *((row[0], 128, 0.02, 2e-4, None) for row in TABLE_A1[2:4]),
        *((row[0], 64, 0.05, 5e-4, [160, 180]) for row in TABLE_A1[4:7]),
        *((row[0], 64, 0.05, 5e-4, [320, 360]) for row in TABLE_A1[7:]),
    ],
)
def test_training_of_section_4_2(name, batch, lr, weight_decay, milestones):
    cfg = load(name)
    assert cfg.auto_scale_lr.base_batch_size == batch
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer == dict(type='SGD', lr=lr, momentum=0.9, weight_decay=weight_decay)
    if milestones is None:
        assert is_cosine(cfg)
    else:
        steps = cfg.param_scheduler[-1]
        assert (steps.type, steps.milestones, steps.gamma) == ('MultiStepLR', milestones, 0.1)


@pytest.mark.parametrize('suffix', ['r34', 'r50', 'x50', 'x101'])
def test_teachers_of_table_6(suffix):
    name = 'gml' if suffix == 'x101' else f'gml-from-{suffix}'
    name = f'imagenet_lt/{name}_x50_imagenet-lt_90e'
    cfg, teacher = load(name), earlier(name, 'teacher')
    assert teacher == f'imagenet_lt/cosine_{suffix}_imagenet-lt_90e'
    backbone = load(teacher).model.backbone
    assert backbone.type == ('ResNeXt' if 'x' in suffix else 'ResNet')
    assert backbone.depth == int(suffix[1:])
    assert (cfg.model.backbone.type, cfg.model.backbone.depth) == ('ResNeXt', 50)


@pytest.mark.parametrize('variant', ['@if1', '@if10', '@if50', ''])
@pytest.mark.parametrize('method', ['supcon', 'gml'])
def test_table_7_trains_encoder_and_classifier_apart(method, variant):
    name = f'cifar_lt/{method}_r50_cifar10-lt_100e{variant}'
    last, encoder = load(name), earlier(name, 'encoder')
    assert last.model.freeze_encoder and last.train_cfg.max_epochs == 100
    assert last.earlier_stages.encoder.gives == 'weights'
    assert load(encoder).train_cfg.max_epochs == 1000
    assert load(encoder).model.head.loss.loss_weight == 0
    assert load(encoder).model.head.get('distillation') is None
    trainings = [name, encoder]
    if method == 'gml':
        trainings.append(earlier(encoder, 'teacher'))
        contrast = load(encoder).model.head.contrast
        settings = (contrast.size, contrast.min_size, contrast.widths, contrast.mixture_temperature)
        assert settings == (4096, 2, (2048, 128), 0.1)
    factors = [load(each).train_dataloader.dataset.imbalance_factor for each in trainings]
    assert factors == [int(variant[3:] or 100)] * len(trainings)


@pytest.mark.parametrize('variant', ['@if1', '@if10', '@if50', ''])
@pytest.mark.parametrize('method', ['ce', 'cosine'])
def test_other_rows_of_table_7(method, variant):
    cfg = load(f'cifar_lt/{method}_r50_cifar10-lt_500e{variant}')
    assert cfg.train_dataloader.dataset.imbalance_factor == int(variant[3:] or 100)
    assert (cfg.model.head.type == 'LinearClsHead') == (method == 'ce')


def test_supcon_is_weighed_by_its_temperatures():
    """temperature / base temperature of its public code; L_GML is another loss."""
    supcon, gml = (
        load(f'cifar_lt/{one}-encoder_r50_cifar10-lt_1000e') for one in ('supcon', 'gml')
    )
    contrast = supcon.model.head.contrast
    assert (contrast.temperature, contrast.loss_weight) == (0.1, pytest.approx(10 / 7))
    assert gml.model.head.contrast.get('loss_weight', 1) == 1


CIFAR10 = dict(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
CIFAR100 = dict(mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761))


@pytest.mark.parametrize('name', [name for name in FILES if name.startswith('cifar_lt/')])
def test_images_of_cifar_are_normalised_as_in_the_public_codes(name):
    """CRD's code, of Table 8, has the statistics of CIFAR-100, the others those of CIFAR-10."""
    found = load(name).data_preprocessor
    for key, expected in (CIFAR100 if name.endswith('_240e') else CIFAR10).items():
        assert found[key] == pytest.approx([255 * value for value in expected])
    assert found.to_rgb is False


@pytest.mark.parametrize('variant', ['', '@if50', '@if10'])
@pytest.mark.parametrize(
    ('method', 'epochs'), [('bcl', 200), ('balanced-softmax', 400), ('paco', 400)]
)
def test_peers_of_table_3_have_its_imbalance_factors(method, epochs, variant):
    cfg = load(f'cifar_lt/{method}_r32_cifar100-lt_{epochs}e{variant}')
    assert cfg.train_dataloader.dataset.imbalance_factor == int(variant[3:] or 100)
    assert cfg.train_cfg.max_epochs == epochs


@pytest.mark.parametrize(
    ('data', 'variant'),
    [('cifar100', ''), ('cifar100-lt', ''), ('cifar100-lt', '@if50'), ('cifar100-lt', '@if10')],
)
@pytest.mark.parametrize(('method', 'weights'), [('kd', (0.1, 0.9)), ('crd', (1, 0.8))])
def test_table_8_has_the_numbers_of_crd(data, variant, method, weights):
    name = f'cifar_lt/{method}_r20_{data}_240e{variant}'
    cfg = load(name)
    head = cfg.model.head
    other = head.distillation if method == 'kd' else head.contrast
    assert (head.get('loss', {}).get('loss_weight', 1), other.loss_weight) == weights
    assert cfg.model.backbone.depth == 20
    assert load(earlier(name, 'teacher')).model.backbone.depth == 56
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer == dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4)
    assert cfg.param_scheduler[0].milestones == [150, 180, 210]
    if method == 'crd':
        assert (other.dim, other.temperature) == (128, 0.07)
        # 16384 negatives are CRD's where there are enough images.
        factor = cfg.train_dataloader.dataset.imbalance_factor
        assert other.num_samples == long_tailed_counts_of_head(500, 100, factor).sum()
        assert other.num_negatives == (16384 if data == 'cifar100' else 8192)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('imagenet_lt/bcl_x50_imagenet-lt_90e', (256, 0.1, 5e-4, 0.07, 0.35)),
        ('inaturalist2018/bcl_r50_inaturalist2018_100e', (256, 0.2, 1e-4, 0.07, 0.35)),
        ('cifar_lt/bcl_r32_cifar100-lt_200e', (256, 0.15, 5e-4, 0.1, 0.6)),
        ('imagenet_lt/paco_x50_imagenet-lt_400e', (128, 0.02, 5e-4, 0.07, 0.05)),
        ('inaturalist2018/paco_r50_inaturalist2018_400e', (128, 0.02, 1e-4, 0.2, 0.05)),
        ('cifar_lt/paco_r32_cifar100-lt_400e', (128, 0.05, 5e-4, 0.05, 0.01)),
    ],
)
def test_peers_have_the_numbers_of_their_code(name, expected):
    cfg = load(name)
    optimizer, contrast = cfg.optim_wrapper.optimizer, cfg.model.head.contrast
    weight = contrast.loss_weight if 'bcl' in name else contrast.alpha
    found = (cfg.auto_scale_lr.base_batch_size, optimizer.lr, optimizer.weight_decay)
    assert (*found, contrast.temperature, weight) == expected
    if 'paco' in name:
        assert contrast.size == (1024 if 'cifar' in name else 8192)
        assert cfg.model.key_momentum == 0.999 and cfg.model.head.loss.loss_weight == 0


@pytest.mark.parametrize(
    'name',
    [
        *(row[0] for row in TABLE_A1),
        'cifar_lt/gml_r20_cifar100-lt_240e',
        'cifar_lt/gml_r20_cifar100_240e',
        'imagenet_lt/gml_r18_imagenet_90e',
        'imagenet_lt/gml-from-r34_x50_imagenet-lt_90e',
        'imagenet_lt/gml-no-teacher_x50_imagenet-lt_90e',
        *(
            f'{data}/{method}'
            for data, methods in (
                ('cifar_lt', ('bcl_r32_cifar100-lt_200e', 'paco_r32_cifar100-lt_400e')),
                (
                    'imagenet_lt',
                    ('bcl_x50_imagenet-lt_90e', 'bcl-teacher_x50_imagenet-lt_90e')
                    + ('paco_x50_imagenet-lt_400e',),
                ),
                (
                    'inaturalist2018',
                    ('bcl_r50_inaturalist2018_100e', 'paco_r50_inaturalist2018_400e'),
                ),
            )
            for method in methods
        ),
    ],
)
def test_mlps_of_the_public_codes_have_a_norm(name):
    assert load(name).model.head.contrast.norm == dict(type='BN1d')


def views_of(name):
    """Transforms of each kind of view."""
    pipeline = load(name).train_dataloader.dataset.pipeline
    (multi,) = [step for step in pipeline if step.type == 'MultiView']
    return multi.transforms


def jitter_of(view):
    """Probability and hue."""
    for step in view:
        if step.type == 'ColorJitter':
            return 1.0, step.get('hue', 0.0)
        if step.type == 'RandomApply':
            return step.prob, step.transforms[0].hue
    raise AssertionError('no jitter')


BCL = ['imagenet_lt/bcl_x50_imagenet-lt_90e', 'inaturalist2018/bcl_r50_inaturalist2018_100e']
GML_AND_PACO = [
    'imagenet_lt/gml_x50_imagenet-lt_90e',
    'imagenet_lt/gml_x50_imagenet-lt_400e',
    'inaturalist2018/gml_r50_inaturalist2018_100e',
    'imagenet_lt/paco_x50_imagenet-lt_400e',
    'inaturalist2018/paco_r50_inaturalist2018_400e',
]


@pytest.mark.parametrize(
    ('names', 'jitter', 'blurred'),
    [(BCL, (0.8, 0.1), False), (GML_AND_PACO, (1.0, 0.0), True)],
    ids=['BCL', 'GML and PaCo'],
)
def test_contrast_views_are_those_of_the_public_codes(names, jitter, blurred):
    for name in names:
        last = views_of(name)[-1]
        assert jitter_of(last) == jitter
        assert any(step.type == 'GaussianBlur' for step in last) == blurred
        assert any(step.type == 'RandomGrayscale' for step in last)


def rand_augment():
    pipeline = load('imagenet_lt/cosine_x50_imagenet-lt_90e').train_dataloader.dataset.pipeline
    (step,) = [step for step in pipeline if step.type == 'RandAugment']
    init_default_scope('mmpretrain')
    return TRANSFORMS.build(step)


def test_rand_augment_is_n2_m10_mstd_05_and_does_not_increase():
    augment = rand_augment()
    assert (augment.num_policies, augment.magnitude_level, augment.total_level) == (2, 10, 10)
    assert augment.magnitude_std == 0.5 and len(augment.transforms) == 15
    assert all(each.prob == 0.5 for each in augment.transforms)
    by_type = {type(each).__name__: each for each in augment.transforms}

    def magnitude(name, level):
        transform = copy.copy(by_type[name])
        transform.magnitude_level, transform.magnitude_std = level, 0
        return transform.random_magnitude()

    for level in (0, 1, 2.4, 2.5, 5, 7.4, 7.5, 9.99, 10):
        assert math.ceil(magnitude('Posterize', level)) == int(level / 10 * 4)
        assert magnitude('Solarize', level) == pytest.approx(level / 10 * 256)
        assert magnitude('SolarizeAdd', level) == pytest.approx(level / 10 * 110)
        for name in ('ColorTransform', 'Contrast', 'Brightness', 'Sharpness'):
            assert by_type[name].random_negative_prob == 0
            assert 1 + magnitude(name, level) == pytest.approx(level / 10 * 1.8 + 0.1)
        for name, largest in (('Rotate', 30), ('Shear', 0.3), ('Translate', 0.45)):
            assert by_type[name].random_negative_prob == 0.5
            assert magnitude(name, level) == pytest.approx(level / 10 * largest)


def test_rand_augment_leaves_no_image_black():
    augment = rand_augment()
    np.random.seed(0)
    image = np.random.default_rng(0).integers(30, 225, size=(32, 32, 3), dtype=np.uint8)
    augmented = [augment(dict(img=image.copy()))['img'] for _ in range(1000)]
    assert not any((each == 0).all() for each in augmented)
    # Nor does solarising invert most of the images.
    assert np.mean([each.mean() for each in augmented]) == pytest.approx(image.mean(), abs=15)
