"""What docs/methods/experts.md shows can be built, and costs what it says."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from lt_mm import functional, registry
from lt_mm.benchmark.model_costs import config_costs

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'docs' / 'methods' / 'experts.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
FOLDERS = ('configs/digit_scenes', 'configs/digits_lt')


def config_named(name):
    (path,) = [ROOT / folder / name for folder in FOLDERS if (ROOT / folder / name).is_file()]
    return path


@cache
def costs(name):
    return config_costs(Config.fromfile(ROOT / 'configs' / f'{name}.py'))


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block.split("'")[1])
def test_configs(block, tmp_path):
    base = re.search(r"_base_ = '(.*?)'", block)[1]
    path = tmp_path / 'page.py'
    text = block.replace('{{ fileDirname }}', str(config_named(base).parent))
    path.write_text(text.replace(base, str(config_named(base)), 1))
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    evaluators = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    assert all(registry.METRICS.build(evaluator) for evaluator in evaluators)
    model = registry.MODELS.build(dict(cfg.model, data_preprocessor=None))
    logits = model.train()(torch.randn(2, 3, 32, 32))
    assert logits.shape == ((2, 10) if 'digits-lt' in base else (2, 12, 8, 8))


def test_everything_named_exists():
    children = (registry.MODELS, registry.HOOKS, registry.METRICS)
    names = set(re.findall(r'lt_mm\.([A-Z]\w+)', PAGE))
    names |= set(re.findall(r'`(\w+Loss)\(', PAGE)) | {'DiversityLoss', 'HardCategoryLoss'}
    for name in names:
        assert any(name in child for child in children), name
    for name in re.findall(r'`([\w/-]+_(?:resnet8|fcn_r18)_[\w-]+\.py)`', PAGE):
        assert (ROOT / 'configs' / name).is_file(), name
    listed = re.search(r'The functions are in(.*?)\n\n', PAGE, re.DOTALL)[1]
    assert all(hasattr(functional, name) for name in re.findall(r'`(\w+)`', listed))


@pytest.mark.parametrize('method', ['mutual', 'sade'])
def test_the_wide_network_has_the_compute_of_three_experts(method):
    experts, wide = (costs(f'digits_lt/{name}_resnet8_digits-lt') for name in (method, 'wide'))
    assert wide.flops == pytest.approx(1.004 * experts.flops, rel=5e-4)
    text = (ROOT / 'configs/digits_lt/wide_resnet8_digits-lt.py').read_text()
    assert f'{wide.flops / 1e6:.2f} million' in text and '1.004 times' in PAGE


def test_costs_of_the_page():
    names = ('ce', 'mutual', 'ride-six', 'ncl')
    found = [costs(f'digits_lt/{name}_resnet8_digits-lt') for name in names]
    row = [f'{each.flops / 1e6:.1f} M, {each.parameters / 1e3:.0f} k' for each in found]
    assert f'| ResNet-8 at 16 × 16 | {" | ".join(row)} |' in PAGE
    found = [costs('cifar_lt/balanced-softmax_r32_cifar100-lt_400e')]
    found += [
        costs(f'cifar_lt/{name}')
        for name in (
            'mutual_r32_cifar100-lt_200e',
            'ride-six_r32_cifar100-lt_200e',
            'ncl_r32_cifar100-lt_400e',
        )
    ]
    row = [f'{each.flops / 1e6:.3g} M, {each.parameters / 1e6:.2f} M' for each in found]
    assert f'| ResNet-32 at 32 × 32 | {" | ".join(row)} |' in PAGE
