"""Classification configs of the GML paper build, run their pipelines, and take a step."""

import json
import re
from copy import deepcopy
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from config_files import FILES, earlier, load, stages_of, with_variants
from mmcv import imwrite
from mmcv.transforms import Compose
from mmengine.config import ConfigDict
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts, TextFeatures

# Those of several experts and of MiSLAS have tests of their own.
OTHERS = r'(mutual|ncl|reslt|ride|sade|ce-mixup|crt|lws|mislas)|ce_r\d+_(imagenet-lt|inaturalist)'
NAMES = [
    name
    for name in FILES
    if name.startswith(('cifar_lt/', 'imagenet_lt/', 'inaturalist2018/'))
    and not re.match(OTHERS, name.split('/')[1])
]
CIFAR = [name for name in NAMES if name.startswith('cifar_lt/')]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


WITH_STAGES = [name for name in NAMES if load(name).get('earlier_stages')]


@pytest.mark.parametrize('name', with_variants(WITH_STAGES))
def test_an_earlier_stage_fits(name):
    cfg = load(name)
    for key, stage in cfg.earlier_stages.items():
        first = load(earlier(name, key))
        factors = {c.train_dataloader.dataset.get('imbalance_factor') for c in (first, cfg)}
        assert len(factors) == 1
        assert first.model.head.num_classes == cfg.model.head.num_classes
        contrast = cfg.model.head.get('contrast') or {}
        width = contrast.get('key_channels') or cfg.model.head.in_channels
        assert first.model.head.in_channels == width or stage.gives == 'weights'
        if stage.gives == 'weights':
            assert first.model.backbone == cfg.model.backbone


def test_stages_of_table_7_are_three_trainings(tmp_path):
    stages = stages_of('cifar_lt/gml_r50_cifar10-lt_100e@if50', tmp_path)
    assert [(stage.name, stage.gives) for stage in stages] == [
        ('encoder/teacher', 'teacher'),
        ('encoder', 'weights'),
        ('last', None),
    ]
    assert {stage.cfg.train_dataloader.dataset.imbalance_factor for stage in stages} == {50}


def distinct(names, part):
    """One name for each distinct content of a part of the configs."""
    found = {}
    for name in names:
        found.setdefault(json.dumps(part(load(name)), sort_keys=True, default=str), name)
    return sorted(found.values())


def train_pipeline(cfg):
    return [cfg.train_dataloader.dataset.pipeline, cfg.data_preprocessor.get('type')]


@pytest.mark.parametrize('name', distinct(NAMES, train_pipeline))
def test_pipelines_run(name, tmp_path):
    """The model gets as many views as the pipeline makes, on a photo larger than a crop."""
    cfg = load(name)
    size, raw = (32, (32, 32)) if name in CIFAR else (224, (300, 260))
    image = np.random.default_rng(0).integers(256, size=(*raw, 3), dtype=np.uint8)
    imwrite(image, str(tmp_path / 'image.png'))
    sample = dict(img=image) if name in CIFAR else dict(img_path=str(tmp_path / 'image.png'))
    sample |= dict(gt_label=1, sample_idx=5)
    packed = Compose(cfg.train_dataloader.dataset.pipeline)(dict(sample))
    views = packed['inputs'] if isinstance(packed['inputs'], list) else [packed['inputs']]
    assert all(view.shape == (3, size, size) and view.dtype == torch.uint8 for view in views)
    assert packed['data_samples'].sample_idx == 5
    several = isinstance(packed['inputs'], list)
    assert several == (cfg.data_preprocessor.get('type') == 'SelfSupDataPreprocessor')
    assert several == wants_views(cfg)
    tested = Compose(cfg.test_dataloader.dataset.pipeline)(dict(sample))
    assert tested['inputs'].shape == (3, size, size)


def wants_views(cfg):
    """Whether a contrast compares views; CRD compares networks, and texts need no second view."""
    contrast = cfg.model.head.get('contrast') or {}
    kind = contrast.get('type') or ('lt_mm.GMLLoss' if contrast else '')
    return kind[6:] in ('GMLLoss', 'SupConLoss', 'BCLLoss', 'PaCoLoss')


def test_cifar_policies_are_those_of_torchvision():
    signed = dict(ShearX=0.3, ShearY=0.3, TranslateX=150 / 331, TranslateY=150 / 331, Rotate=30)
    signed |= dict.fromkeys(('Brightness', 'Color', 'Contrast', 'Sharpness'), 0.9)

    def ours(operation, probability, level):
        expected = dict(type=operation.rstrip('XY'), prob=probability)
        if operation in signed:
            expected['angle' if operation == 'Rotate' else 'magnitude'] = (
                signed[operation] / 9 * level
            )
        if operation[-1] in 'XY':
            expected['direction'] = 'horizontal' if operation[-1] == 'X' else 'vertical'
        if operation == 'Color':
            expected['type'] = 'ColorTransform'
        if operation == 'Posterize':
            expected['bits'] = 8 - round(level / (9 / 4))
        if operation == 'Solarize':
            expected['thr'] = 256 / 9 * (9 - level)
        return expected

    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    found = load('cifar_lt/gml_r32_cifar100-lt_200e').policies_cifar
    assert len(found) == len(theirs) == 25
    for policy, reference in zip(found, theirs, strict=True):
        for transform, operation in zip(policy, reference, strict=True):
            expected = ours(*operation)
            assert transform.keys() == expected.keys()
            for key, value in expected.items():
                number = isinstance(value, float)
                assert transform[key] == (pytest.approx(value) if number else value)


@pytest.fixture
def uninitialised(monkeypatch):
    """Leave weights as the memory has them: building a large model is then a matter of moments."""
    for layer in (torch.nn.modules.conv._ConvNd, torch.nn.Linear):
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)


def buildable(cfg, folder):
    """The model of a config, without what would need gigabytes or a file."""
    model = ConfigDict(cfg.model.to_dict())
    model.data_preprocessor = cfg.data_preprocessor.to_dict()
    contrast = model.head.get('contrast') or {}
    if contrast.get('type') == 'lt_mm.CRDLoss':
        contrast.update(num_samples=200, num_negatives=100)
    if contrast.get('type') == 'lt_mm.TextGMLLoss':
        classes = model.head.num_classes
        texts = TextFeatures(torch.ones(classes, 8), torch.ones(classes, dtype=torch.int64), ())
        texts.save(folder / 'texts.npz')
        contrast.text_features = str(folder / 'texts.npz')
    return model


@pytest.mark.parametrize('name', distinct(NAMES, lambda cfg: [cfg.model, cfg.data_preprocessor]))
def test_models_build(name, tmp_path, uninitialised):
    cfg = load(name)
    model = MODELS.build(buildable(cfg, tmp_path))
    classes = dict(cifar10=10, cifar100=100, imagenet=1000, inaturalist2018=8142)
    dataset = re.search('|'.join(sorted(classes, reverse=True)), name.split('/')[1])[0]
    assert model.head.fc.weight.shape == (classes[dataset], cfg.model.head.in_channels)
    takers = [module for module in model.modules() if hasattr(module, 'set_class_counts')]
    assert bool(takers) == (cfg.model.head.type != 'LinearClsHead' or 'balanced' in name)


SMALL = [name for name in distinct(CIFAR, lambda cfg: cfg.model) if '_r50_' not in name]


@pytest.mark.parametrize('name', [*SMALL, 'cifar_lt/gml_r50_cifar10-lt_100e@if1'])
def test_small_models_take_a_step(name, tmp_path):
    """From pixels to gradients, with a teacher's checkpoint where there is to be one."""
    cfg = load(name)
    config = buildable(cfg, tmp_path)
    if config.get('teacher') is not None:
        teacher = deepcopy(load(earlier(name, 'teacher')).model)
        torch.save(MODELS.build(teacher).state_dict(), tmp_path / 'teacher.pth')
        config.teacher = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    classes, batch = config.head.num_classes, 4
    model = MODELS.build(config)
    model.init_weights()
    counts = ClassCounts([ceil(500 * 0.95**c) for c in range(classes)], unit='images')
    set_class_counts(model, counts)
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    images = np.random.default_rng(0).integers(256, size=(batch, 32, 32, 3), dtype=np.uint8)
    samples = [
        pipeline(dict(img=image, gt_label=i // 2, sample_idx=i)) for i, image in enumerate(images)
    ]
    data = model.data_preprocessor(default_collate(samples), training=True)
    total, logged = model.train().parse_losses(model(**data, mode='loss'))
    total.backward()
    assert total.isfinite()
    wanted = {'kd': 'loss_kd', 'crd': 'loss_crd', 'bcl': 'loss_bcl', 'paco': 'loss_paco'}
    method = Path(name).stem.split('_')[0]
    assert wanted.get(method, 'loss') in logged
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # DistributedDataParallel would stop at the first that is left out.
    assert all(parameter.grad is not None for parameter in trained)
    assert (len(trained) == 1) == bool(cfg.model.get('freeze_encoder'))
