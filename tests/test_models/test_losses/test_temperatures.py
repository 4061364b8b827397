"""Every temperature is positive and finite, and none is taken for a missing one."""

import inspect
import math

import pytest
import torch

from lt_mm.models import layers, losses
from lt_mm.structures import TextFeatures

# What has to be given beside the temperature.
ARGUMENTS = {
    'GMLLoss': dict(num_classes=3, in_channels=4, size=30, min_size=2, widths=(5,)),
    'TextGMLLoss': dict(num_classes=3, in_channels=4, widths=(5,)),
    'SupConLoss': dict(num_classes=3, in_channels=4, widths=(5,)),
    'BCLLoss': dict(num_classes=3, in_channels=4, widths=(5,)),
    'PaCoLoss': dict(num_classes=3, in_channels=4, widths=(5,), size=9),
    'CRDLoss': dict(num_classes=3, in_channels=4, num_samples=9, num_negatives=3),
    'CosineLinear': dict(num_classes=3, in_channels=4),
    'CosineConv2d': dict(num_classes=3, in_channels=4),
}


def with_temperature():
    """Each class of losses and layers that has one, and what it calls it."""
    for module in (losses, layers):
        for name in module.__all__:
            cls = getattr(module, name)
            if not inspect.isclass(cls) or inspect.isabstract(cls):
                continue
            for argument in inspect.signature(cls).parameters:
                if 'temperature' in argument and argument != 'trainable_temperature':
                    yield name, cls, argument


CASES = {name: (cls, argument) for name, cls, argument in with_temperature()}


def build(name, tmp_path, value):
    cls, argument = CASES[name]
    given = dict(ARGUMENTS.get(name, {}))
    if name == 'TextGMLLoss':
        path = tmp_path / 'texts.npz'
        TextFeatures(torch.randn(3, 4), torch.tensor([1, 1, 1]), ()).save(path)
        given['text_features'] = path
    return cls(**given, **{argument: value})


def test_all_are_here():
    assert set(ARGUMENTS) < set(CASES)
    assert {'KDLoss', 'MutualLoss', 'HardCategoryLoss', 'DiversityLoss'} < set(CASES)
    assert 'LogitAdjustedLoss' in CASES


@pytest.mark.parametrize('value', [0, 0.0, -0.5, math.inf, math.nan])
@pytest.mark.parametrize('name', CASES)
def test_out_of_its_range(name, value, tmp_path):
    with pytest.raises(ValueError, match=f'temperature .*{value}.* must be positive'):
        build(name, tmp_path, value)


@pytest.mark.parametrize('name', CASES)
def test_what_is_given_is_what_holds(name, tmp_path):
    for value in (0.5, 1, 3.0):
        assert build(name, tmp_path, value).temperature == value


@pytest.mark.parametrize('name', ['GMLLoss', 'TextGMLLoss'])
def test_the_name_of_earlier_versions_names_its_successor(name, tmp_path):
    cls, argument = CASES[name]
    assert argument == 'mixture_temperature'
    given = dict(ARGUMENTS[name], text_features='x') if name == 'TextGMLLoss' else ARGUMENTS[name]
    with pytest.raises(TypeError, match=f'temperature of {name} .* use mixture_temperature=0.1'):
        cls(**given, temperature=0.1)
    with pytest.raises(TypeError, match=f'{name} has no sizes; leave it out'):
        cls(**given, sizes=0.1)


@pytest.mark.parametrize('normalizer', [0.0, -1.0, math.inf, math.nan])
def test_the_normalizer_of_crd(normalizer):
    with pytest.raises(ValueError, match=f'normalizer of CRDLoss is {normalizer}, but it must be'):
        losses.CRDLoss(**ARGUMENTS['CRDLoss'], normalizer=normalizer)
