"""Every classification config parses, builds, runs its pipelines, and is what its name says."""

import json
import re
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import imwrite
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from lt_mm import registry
from lt_mm.stages.read import read_stages
from lt_mm.structures import ClassCounts, TextFeatures

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
FOLDERS = ('cifar_lt', 'imagenet_lt', 'inaturalist')
NAMES = sorted(f'{f}/{path.stem}' for f in FOLDERS for path in (CONFIGS / f).glob('*.py'))
CIFAR = [name for name in NAMES if name.startswith('cifar_lt/')]
WITH_TEXTS = 'imagenet_lt/gml-text_vit-b16_imagenet-lt_50e'


@cache
def load(name):
    return Config.fromfile(CONFIGS / f'{name}.py')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def types(node):
    """Every value of a key ``type`` in a config."""
    if isinstance(node, dict):
        if isinstance(node.get('type'), str):
            yield node['type']
        for value in node.values():
            yield from types(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from types(value)


@pytest.mark.parametrize('name', NAMES)
def test_parses_with_components_that_exist(name):
    cfg = load(name)
    assert cfg.default_scope == 'mmpretrain'
    assert len((CONFIGS / f'{name}.py').read_text().splitlines()) <= 30
    assert (CONFIGS / f'{name}.py').read_text().startswith('# ')
    children = (
        registry.DATASETS,
        registry.DATA_SAMPLERS,
        registry.HOOKS,
        registry.METRICS,
        registry.MODELS,
    )
    found = {kind for kind in types(cfg.to_dict()) if kind.startswith('lt_mm.')}
    for kind in found:
        assert any(child.get(kind) for child in children), kind
    assert cfg.test_evaluator.type == 'lt_mm.LongTailAccuracy'
    assert {'lt_mm.ClassCountsHook', 'lt_mm.RandomStateHook'} <= found


@pytest.mark.parametrize('name', NAMES)
def test_name_tells_epochs_and_imbalance(name):
    cfg = load(name)
    epochs = int(re.search(r'_(\d+)e$', name)[1])
    assert cfg.train_cfg.max_epochs == epochs
    last = cfg.param_scheduler[-1]
    assert max(last.milestones) < epochs if 'milestones' in last else last.end == epochs
    if name.startswith('cifar_lt/'):
        factor = re.search(r'-lt-if(\d+)_', name)
        dataset = cfg.train_dataloader.dataset
        assert dataset.imbalance_factor == (int(factor[1]) if factor else 1)
        assert dataset.type == f'lt_mm.CIFAR{cfg.model.head.num_classes}LT'


@pytest.mark.parametrize('name', NAMES)
def test_learning_rate_is_for_a_whole_number_of_processes(name):
    cfg = load(name)
    assert cfg.auto_scale_lr.enable is False
    assert cfg.auto_scale_lr.base_batch_size % cfg.train_dataloader.batch_size == 0


def test_imagenet_lt_is_chosen_on_val_and_reported_on_test():
    for name in (name for name in NAMES if '_imagenet-lt_' in name):
        cfg = load(name)
        splits = [cfg[f'{split}_dataloader'].dataset.ann_file for split in ('train', 'val', 'test')]
        assert splits == [f'ImageNet_LT_{split}.txt' for split in ('train', 'val', 'test')]
        assert cfg.default_hooks.checkpoint.save_best == 'accuracy/top1'


def test_no_checkpoint_is_chosen_on_the_split_that_is_reported():
    for name in (name for name in NAMES if '_imagenet-lt_' not in name):
        assert 'save_best' not in load(name).default_hooks.checkpoint


@pytest.mark.parametrize('name', [name for name in NAMES if load(name).get('earlier_stages')])
def test_an_earlier_stage_fits(name):
    cfg = load(name)
    for stage in cfg.earlier_stages.values():
        earlier = load(f'{Path(name).parent}/{Path(stage.config).stem}')
        assert earlier.train_dataloader.dataset.get(
            'imbalance_factor'
        ) == cfg.train_dataloader.dataset.get('imbalance_factor')
        assert earlier.model.head.num_classes == cfg.model.head.num_classes
        head = cfg.model.head
        contrast = head.get('gml') or head.get('contrast') or {}
        width = contrast.get('key_channels') or head.in_channels
        assert earlier.model.head.in_channels == width or stage.gives == 'weights'
        assert (stage.gives == 'teacher') == (cfg.model.get('teacher') is not None)
        if stage.gives == 'teacher':
            # Its checkpoint may be given instead; then the model's own config is what counts.
            assert Config.fromfile(cfg.model.teacher.config).model == earlier.model
        else:
            assert earlier.model.backbone == cfg.model.backbone


def test_stages_of_table_7_are_three_trainings(tmp_path):
    cfg = Config.fromfile(CONFIGS / 'cifar_lt/gml_r50_cifar10-lt-if50_100e.py')
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    stages = read_stages(cfg, ROOT)
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
    assert several == (cfg.model.type == 'lt_mm.GMLClassifier' and wants_views(cfg))
    tested = Compose(cfg.test_dataloader.dataset.pipeline)(dict(sample))
    assert tested['inputs'].shape == (3, size, size)


def wants_views(cfg):
    """Whether a contrast compares views; CRD compares networks, and texts need no second view."""
    head = cfg.model.head
    contrast = head.get('contrast') or {}
    return 'gml' in head or contrast.get('type', '')[6:] in ('SupConLoss', 'BCLLoss', 'PaCoLoss')


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
    found = load('cifar_lt/gml_r32_cifar100-lt-if100_200e').policies_cifar
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


@pytest.mark.parametrize('name', [*SMALL, 'cifar_lt/gml_r50_cifar10-lt-if1_100e'])
def test_small_models_take_a_step(name, tmp_path):
    """From pixels to gradients, with a teacher's checkpoint where there is to be one."""
    cfg = load(name)
    config = buildable(cfg, tmp_path)
    if config.get('teacher'):
        teacher = Config.fromfile(config.teacher.config)
        torch.save(MODELS.build(teacher.model).state_dict(), tmp_path / 'teacher.pth')
        config.teacher.checkpoint = str(tmp_path / 'teacher.pth')
    classes, batch = config.head.num_classes, 4
    model = MODELS.build(config)
    model.init_weights()
    counts = ClassCounts([ceil(500 * 0.95**c) for c in range(classes)], unit='images')
    for module in model.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(counts)
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


def test_the_page_lists_every_config():
    page = (ROOT / 'docs/paper_configs.md').read_text()
    listed = set(re.findall(r'`((?:cifar_lt|imagenet_lt|inaturalist)/[\w.-]+)\.py`', page))
    assert listed == set(NAMES)
