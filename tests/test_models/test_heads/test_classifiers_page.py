"""What docs/methods/classifiers.md shows can be built."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.models.heads import VisionTransformerClsHead

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


def test_hooks_and_the_head_on_another_base():
    names = {}
    for block in BLOCKS:
        if '_base_' not in block:
            exec(block, names)
    assert [HOOKS.build(hook) for hook in names['custom_hooks']]
    head = MODELS.build(names['model']['head'])
    assert isinstance(head, VisionTransformerClsHead) and head.classifier_path == 'layers.head'
    learning = {name for name, value in head.named_parameters() if value.requires_grad}
    assert learning and all(name.startswith('alignment.') for name in learning)


def test_bases_of_the_page():
    row = re.search(r'\| `LongTailClsHead` \| any(.*)', PAGE)[1]
    bases = re.findall(r'`(\w+Head)`', row)
    further = dict(StackedLinearClsHead=dict(mid_channels=[4]), VigClsHead=dict(hidden_dim=4))
    for base in set(bases) - {'ClsHead'}:
        cfg = dict(type='lt_mm.LongTailClsHead', base=base, num_classes=3, in_channels=5)
        head = MODELS.build({**cfg, **further.get(base, {})})
        assert head.train()((torch.randn(2, 5),)).shape == (2, 3), base
    assert len(set(bases)) == 7
    refused = re.findall(r'`(\w+ClsHead)` \(a', PAGE)
    assert len(refused) == 2
    for base in refused:
        with pytest.raises(ValueError, match=f'base of LongTailClsHead is {base}'):
            MODELS.build(dict(type='lt_mm.LongTailClsHead', base=base))


@pytest.mark.parametrize('arguments', sorted(set(ARGUMENTS)))
def test_arguments(arguments):
    given = eval(f'dict({arguments})')
    counts = dict(class_counts=[5, 3, 1])
    if 'post_compensation' in given:
        given['post_compensation'] |= counts
    head = MODELS.build(dict(type='lt_mm.LongTailClsHead', num_classes=3, in_channels=4, **given))
    assert head.train()((torch.randn(2, 4),)).shape == (2, 3)


def test_every_head_and_method_is_registered():
    for name in set(re.findall(r'lt_mm\.([A-Z]\w+)', PAGE)):
        assert any(name in registry for registry in (MODELS, HOOKS, DATA_SAMPLERS)), name
