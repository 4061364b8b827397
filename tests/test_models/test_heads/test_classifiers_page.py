"""What docs/methods/classifiers.md shows can be built."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from lt_mm.registry import DATA_SAMPLERS, HOOKS, MODELS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'docs' / 'methods' / 'classifiers.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
ARGUMENTS = re.findall(r'`((?:alignment|classifier|post_compensation)=.*?)`', PAGE)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


@pytest.mark.parametrize('block', [block for block in BLOCKS if '_base_' in block])
def test_configs(block, tmp_path):
    text = block.replace('{{ fileDirname }}', str(tmp_path))
    path = tmp_path / 'page.py'
    path.write_text(text.replace("'ce_", f"'{ROOT}/configs/digits_lt/ce_", 1))
    model = MODELS.build(dict(Config.fromfile(path).model, data_preprocessor=None))
    assert model.eval()(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_hooks_and_the_line_for_another_head():
    names = {}
    for block in BLOCKS:
        if '_base_' not in block:
            exec(block, names)
    assert [HOOKS.build(hook) for hook in names['custom_hooks']]
    head = names['DecoupledStackedHead'](3, 5, mid_channels=[4], post_compensation=dict())
    assert head.post_compensation.class_counts.num_classes == 3


@pytest.mark.parametrize('arguments', sorted(set(ARGUMENTS)))
def test_arguments(arguments):
    given = eval(f'dict({arguments})')
    counts = dict(class_counts=[5, 3, 1])
    if 'post_compensation' in given:
        given['post_compensation'] |= counts
    head = MODELS.build(dict(type='lt_mm.DecoupledClsHead', num_classes=3, in_channels=4, **given))
    assert head.train()((torch.randn(2, 4),)).shape == (2, 3)


def test_every_head_and_method_is_registered():
    for name in set(re.findall(r'lt_mm\.([A-Z]\w+)', PAGE)):
        assert any(registry.get(name) for registry in (MODELS, HOOKS, DATA_SAMPLERS)), name
