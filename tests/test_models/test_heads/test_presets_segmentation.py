"""Heads under names of their own: LongTailHeads with a few defaults, which a config overrides."""

import copy

import pytest
import torch
from decode_heads import ADJUSTED, BASES, GML, SIX, batch, built, config, step
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from lt_mm.models.heads import LongTailHead, preset
from lt_mm.models.layers import CosineConv2d
from lt_mm.models.losses import GMLLoss, LogitAdjustedLoss, SupConLoss

preset('PresetOfThisTest', LongTailHead, base='FCNHead', contrast=GML)
SMALL = {key: value for key, value in GML.items() if key != 'type'}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def named(kind, base='FCNHead', **changes):
    """Config of a preset, with nothing that it has itself."""
    cfg = config(base, type=f'lt_mm.{kind}{base}')
    del cfg['base'], cfg['loss_decode']
    return cfg | changes


@pytest.mark.parametrize('base', SIX)
@pytest.mark.parametrize('kind', ['Cosine', 'GML'])
def test_builds_from_a_config_and_trains(kind, base):
    extra = dict(contrast=SMALL, alpha=0.2) if kind == 'GML' else dict(loss_decode=ADJUSTED)
    head = built(named(kind, base, **extra))
    assert isinstance(head, MODELS.get(base)) and isinstance(head.conv_seg, CosineConv2d)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in head.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        losses, _ = step(head, batch(base))
        optimizer.step()
        assert ('loss_gml' in losses) == (kind == 'GML')
        assert set(losses) >= {'loss_cls', 'acc_seg'}
    for name, value in head.named_parameters():
        assert value.isfinite().all(), name
        assert not torch.equal(value, before[name]), f'{name} was not trained'


def test_it_is_the_head_that_it_stands_for():
    options = dict(classifier='cosine', loss_decode=ADJUSTED, contrast=GML)
    cfg = dict(BASES['FCNHead'], channels=8, num_classes=4, norm_cfg=dict(type='BN'))
    torch.manual_seed(1)
    expected = LongTailHead(base='FCNHead', **cfg, **options)
    torch.manual_seed(1)
    head = MODELS.build(dict(cfg, type='lt_mm.GMLFCNHead', contrast=SMALL))
    assert type(head) is type(expected)
    state = head.state_dict()
    assert state.keys() == expected.state_dict().keys()
    assert all(torch.equal(one, state[name]) for name, one in expected.state_dict().items())


def test_every_default_can_be_overridden():
    head = MODELS.build(named('GML', contrast=SMALL))
    assert isinstance(head.loss_decode, LogitAdjustedLoss) and head.contrast.queue.size == 40
    head = MODELS.build(named('GML', classifier='linear', contrast=None))
    assert type(head.conv_seg) is nn.Conv2d and head.contrast is None
    head = MODELS.build(
        named('GML', classifier_temperature=0.1, loss_decode=dict(type='CrossEntropyLoss'))
    )
    assert head.conv_seg.temperature == 0.1 and head.loss_decode.loss_name == 'loss_ce'
    assert head.contrast.queue.size == 8192
    head = MODELS.build(named('GML', base='PSPHead', contrast=SMALL) | dict(base='PSPHead'))
    assert isinstance(head, MODELS.get('PSPHead'))


@pytest.mark.parametrize(
    'kind',
    [
        dict(),
        dict(type='lt_mm.GMLLoss'),
        dict(type=GMLLoss),
        dict(type='GMLLoss', _scope_='lt_mm'),
    ],
    ids=['none', 'name', 'class', 'scope'],
)
@pytest.mark.parametrize('wrap', [dict, ConfigDict])
def test_a_contrast_of_the_same_type_completes_that_of_the_preset(kind, wrap):
    cfg = named('GML', contrast=wrap(size=50, **kind)) | dict(type='lt_mm.PresetOfThisTest')
    head = MODELS.build(cfg)
    assert isinstance(head.contrast, GMLLoss)
    assert (head.contrast.queue.size, head.contrast.queue.min_size) == (50, 2)


@pytest.mark.parametrize('kind', ['lt_mm.SupConLoss', SupConLoss])
def test_a_contrast_of_another_type_replaces_it(kind):
    head = MODELS.build(named('GML', contrast=dict(type=kind, widths=(6,))))
    assert isinstance(head.contrast, SupConLoss)


def test_the_defaults_are_not_changed_by_what_is_built():
    cfg = named('GML', contrast=SMALL, alpha=0.3)
    before = copy.deepcopy(cfg)
    MODELS.build(cfg)
    assert cfg == before
    head = MODELS.build(named('GML'))
    assert (head.contrast.queue.size, head.contrast.alpha) == (8192, 1.0)
    with pytest.raises(TypeError):
        MODELS.get('lt_mm.GMLFCNHead').defaults['classifier'] = 'linear'


@pytest.mark.parametrize('changes', [dict(clasifier='cosine'), dict(contrasts=None)])
def test_an_argument_that_nobody_knows(changes):
    with pytest.raises(TypeError, match=next(iter(changes))):
        MODELS.build(named('GML', **changes))


@pytest.mark.parametrize('name', ['DecoupledFCNHead', 'DecoupledDepthwiseSeparableASPPHead'])
def test_heads_of_earlier_versions_name_their_successor(name):
    base = name.removeprefix('Decoupled')
    with pytest.raises(
        KeyError, match=f"{name} is gone; use lt_mm.LongTailHead with base='{base}'"
    ):
        MODELS.build(dict(type=f'lt_mm.{name}'))
