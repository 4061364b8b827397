"""Every config that docs/methods/losses.md shows can be built and called."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from lt_mm.models.losses import LogitLoss
from lt_mm.structures import ClassCounts

PAGE = (Path(__file__).parents[3] / 'docs' / 'methods' / 'losses.md').read_text(encoding='utf-8')
CONFIGS = re.findall(r"`(dict\(type='lt_mm\.\w+Loss'.*?\))`", PAGE)


def test_the_page_shows_them_all():
    shown = {re.search(r'lt_mm\.(\w+)', config)[1] for config in CONFIGS}
    assert len(CONFIGS) >= 12
    assert shown == {cls.__name__ for cls in LogitLoss.__subclasses__()}


@pytest.mark.parametrize('config', CONFIGS)
def test_config(config):
    init_default_scope('mmpretrain')
    config = eval(config)
    given = config.get('class_weight')
    num_classes = len(given) if isinstance(given, list) else config.get('num_classes', 5)
    loss = MODELS.build(config)
    loss.set_class_counts(ClassCounts(range(1, num_classes + 1)))
    assert loss(torch.randn(4, num_classes), torch.tensor([0, 1, 2, 2])) > 0


def test_blocks():
    init_default_scope('mmpretrain')
    names = {}
    for block in re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL):
        exec(block, names)
    head = MODELS.build(names['model']['head'])
    assert head.loss_module.scale == pytest.approx(1 / head.fc.temperature)
    assert head.loss_module.class_weights is not None
