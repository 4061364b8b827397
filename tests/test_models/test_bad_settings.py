"""Numbers that make no sense are refused when a component is built, whichever it is."""

import inspect
import math
import re

import pytest
import torch
from mmengine.registry import init_default_scope

import lt_mm.models  # noqa: F401 - registers them
from lt_mm.evaluation import CalibrationError
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS
from lt_mm.structures import TextFeatures

CNN = dict(type='mmpretrain.ResNet_CIFAR', depth=18, num_stages=4)
# What a component cannot be built without.
NEEDED = {
    'CRDLoss': dict(num_samples=100, num_negatives=9),
    'GMLLoss': dict(size=60, min_size=2, widths=(4,)),
    'PaCoLoss': dict(widths=(4,), size=8),
    'TextGMLLoss': dict(widths=(4,), text_features='texts.npz'),
    'WeightedCrossEntropyLoss': dict(class_weight=None),
    'HardCategoryLoss': dict(num_hard=2),
    'LongTailHead': dict(base='FCNHead', channels=4),
    'MultiExpertResNet': dict(backbone=CNN),
    'RoutedClsHead': dict(experts=[{}, {}], routers=dict(top_k=2)),
    'LongTailClassifier': dict(
        backbone=CNN,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='lt_mm.GMLClsHead', num_classes=3, in_channels=512),
    ),
}
# What divides, or multiplies all.
POSITIVE = re.compile('temperature|scale$|normalizer|width_factor|pos_weight')


def components():
    """Every class in our registry with its arguments that are fractions."""
    for name, cls in sorted(MODELS.module_dict.items()):
        if not isinstance(cls, type) or not cls.__module__.startswith('lt_mm.models.'):
            continue
        for base in cls.__mro__:
            if not base.__module__.startswith('lt_mm.') or '__init__' not in vars(base):
                continue
            for parameter in inspect.signature(base.__init__).parameters.values():
                if 'float' in str(parameter.annotation).replace('Sequence[float]', ''):
                    yield name, parameter.name


def word(argument):
    """What a message calls it at least: 'temperature' of 'mixture_temperature'."""
    return argument.rpartition('_')[2]


CASES = sorted(set(components()))


def build(name, path, **changes):
    init_default_scope('mmseg' if name == 'LongTailHead' else 'mmpretrain')
    cls = MODELS.get(name)
    taken = inspect.signature(cls.__init__).parameters
    config = dict(num_classes=3, in_channels=5)
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()) or issubclass(cls, LogitLoss):
        config = {key: value for key, value in config.items() if key in taken}
    if name in ('MultiExpertResNet', 'LongTailClassifier', 'SeesawLoss'):
        config = {}
    config |= NEEDED.get(name, {})
    if 'text_features' in config:
        texts = TextFeatures(torch.randn(3, 5), torch.ones(3, dtype=torch.int64), ())
        texts.save(path / 'texts.npz')
        config['text_features'] = path / 'texts.npz'
    return cls(**{**config, **changes})


@pytest.mark.parametrize('name', sorted({name for name, _ in CASES}))
def test_what_the_cases_start_from_can_be_built(name, tmp_path):
    build(name, tmp_path)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(('name', 'argument'), CASES)
def test_what_is_not_finite(name, argument, value, tmp_path):
    with pytest.raises(ValueError, match=rf'{word(argument)}.* {value}'):
        build(name, tmp_path, **with_argument(argument, value))


@pytest.mark.parametrize('value', [0, 0.0, -0.0, -1.0])
@pytest.mark.parametrize(('name', 'argument'), [c for c in CASES if POSITIVE.search(c[1])])
def test_what_has_to_be_positive(name, argument, value, tmp_path):
    with pytest.raises(ValueError, match=rf'{word(argument)}.* {value}'):
        build(name, tmp_path, **with_argument(argument, value))


def with_argument(argument, value):
    options = {argument: value}
    if argument == 'classifier_temperature':
        options['classifier'] = 'cosine'
    return options


@pytest.mark.parametrize('name', sorted({n for n, a in CASES if a == 'loss_weight'}))
@pytest.mark.parametrize('value', ['1', None, True, [1.0]])
def test_a_weight_that_is_no_number(name, value, tmp_path):
    with pytest.raises(ValueError, match='loss_weight .* must be finite'):
        build(name, tmp_path, loss_weight=value)


@pytest.mark.parametrize('reduction', ['foo', '', None, 'Mean'])
def test_a_reduction_that_there_is_not(reduction, tmp_path):
    losses = [n for n, c in MODELS.module_dict.items() if isinstance(c, type)]
    for name in losses:
        if issubclass(MODELS.get(name), LogitLoss) and name != 'LADELoss':
            with pytest.raises(ValueError, match=f'reduction of {name} is {reduction!r}; use'):
                build(name, tmp_path, reduction=reduction)
    with pytest.raises(ValueError, match="reduction of LADELoss can only be 'mean'"):
        build('LADELoss', tmp_path, reduction='sum')


@pytest.mark.parametrize(('head', 'tail'), [(0.0, 0.1), (0.2, 0.3)])
def test_smoothing_of_the_tail_alone(head, tail, tmp_path):
    with pytest.raises(ValueError, match=f'head of .* is {head} and tail {tail}'):
        build('LabelAwareSmoothingLoss', tmp_path, head_smoothing=head, tail_smoothing=tail)
    build('LabelAwareSmoothingLoss', tmp_path, head_smoothing=tail, tail_smoothing=tail)


@pytest.mark.parametrize('num_bins', [0, -1, math.nan, math.inf, 1.5, '15'])
def test_bins_of_a_metric(num_bins):
    with pytest.raises((ValueError, TypeError), match='num_bins|bins'):
        CalibrationError(num_bins=num_bins)
