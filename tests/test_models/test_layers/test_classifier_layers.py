"""Classifiers that differ between training and test, and maps of their logits."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lt_mm.functional import tau_normalize
from lt_mm.models.layers import (
    DisAlign,
    LearnableWeightScaling,
    NearestClassMeanLinear,
    PostCompensation,
    TauNormConv2d,
    TauNormLinear,
)
from lt_mm.structures import ClassCounts


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize('keep_bias', [False, True])
@pytest.mark.parametrize('cls', [TauNormLinear, TauNormConv2d])
def test_tau_norm_loads_a_plain_layer_and_differs_from_it_in_eval_mode_only(cls, keep_bias):
    layer = cls(5, 3, tau=0.6, keep_bias=keep_bias)
    maps = cls is TauNormConv2d
    plain = nn.Conv2d(5, 3, 1) if maps else nn.Linear(5, 3)
    layer.load_state_dict(plain.state_dict())
    features = torch.randn(2, 5, 4, 4) if maps else torch.randn(2, 5)
    torch.testing.assert_close(layer.train()(features), plain(features))
    weight = tau_normalize(plain.weight, 0.6)
    bias = plain.bias if keep_bias else None
    expected = F.conv2d(features, weight, bias) if maps else F.linear(features, weight, bias)
    torch.testing.assert_close(layer.eval()(features), expected)
    layer.tau = 0
    bias_alone = 0 if keep_bias else plain.bias.reshape(1, -1, *(1,) * (features.ndim - 2))
    torch.testing.assert_close(layer(features), plain(features) - bias_alone)


def test_scaling_starts_as_nothing_and_covers_the_bias():
    scaling, logits = LearnableWeightScaling(3), torch.randn(2, 3, 4, 4)
    assert torch.equal(scaling(logits), logits)
    with torch.no_grad():
        scaling.scale.copy_(torch.tensor([1.0, 2.0, -1.0]))
    for c, factor in enumerate((1, 2, -1)):
        torch.testing.assert_close(scaling(logits)[:, c], factor * logits[:, c])


@pytest.mark.parametrize('place', [(), (3, 2)])
@pytest.mark.parametrize('normalize', [False, True])
def test_confidence_of_disalign(place, normalize):
    align = DisAlign(4, 6, normalize=normalize).double()
    for parameter in align.parameters():
        nn.init.normal_(parameter)
    logits, features = torch.randn(2, 4, *place).double(), torch.randn(2, 6, *place).double()
    got = align(logits, features)
    rows = features.movedim(1, -1).reshape(-1, 6)
    rows = rows / rows.norm(dim=1, keepdim=True) if normalize else rows
    sigma = 1 / (1 + (-rows @ align.confidence.weight[0] - align.confidence.bias).exp())
    flat = logits.movedim(1, -1).reshape(-1, 4)
    expected = sigma[:, None] * (align.scale * flat + align.shift) + (1 - sigma[:, None]) * flat
    torch.testing.assert_close(got.movedim(1, -1).reshape(-1, 4), expected)


def test_disalign_of_the_paper_starts_as_nothing_and_that_of_the_code_does_not():
    logits, features = torch.randn(5, 4), torch.randn(5, 6)
    torch.testing.assert_close(DisAlign(4, 6)(logits, features), logits)
    sigma = (0.1 * features.sum(1, keepdim=True)).sigmoid()
    torch.testing.assert_close(DisAlign(4, 6, form='code')(logits, features), (1 + sigma) * logits)


def test_post_compensation_acts_in_eval_mode_and_is_in_checkpoints():
    layer, logits = PostCompensation(3, alpha=0.5), torch.randn(2, 3)
    layer.set_class_counts(ClassCounts([60, 30, 10]))
    assert layer.train()(logits) is logits
    expected = logits - 0.5 * torch.tensor([0.6, 0.3, 0.1]).log()
    torch.testing.assert_close(layer.eval()(logits), expected)
    loaded = PostCompensation(3, alpha=0.5).eval()
    loaded.load_state_dict(copy.deepcopy(layer.state_dict()))
    torch.testing.assert_close(loaded(logits), expected)


def test_post_compensation_follows_the_prior_of_the_sampler():
    layer, logits = PostCompensation(3).eval(), torch.randn(2, 3)
    layer.set_class_counts(ClassCounts([60, 30, 10]).with_prior([1, 1, 2]))
    expected = logits - torch.tensor([0.25, 0.25, 0.5]).log()
    torch.testing.assert_close(layer(logits), expected)


def test_post_compensation_of_a_checkpoint_without_counts():
    layer, logits = PostCompensation(3, class_counts=[6, 3, 1]).eval(), torch.randn(2, 3)
    expected = logits - torch.tensor([0.6, 0.3, 0.1]).log()
    torch.testing.assert_close(layer(logits), expected)
    layer.set_class_counts(ClassCounts([1, 1, 1]))
    torch.testing.assert_close(layer(logits), expected)


@pytest.mark.parametrize('target', [[0.1, 0.1, 0.6], (1, 1, 6), 'file'])
def test_post_compensation_for_a_target(tmp_path, target):
    if target == 'file':
        target = tmp_path / 'target.json'
        ClassCounts([1, 1, 6]).save(target)
    layer, logits = PostCompensation(3, target=target, class_counts=[6, 3, 1]), torch.randn(2, 3)
    shift = torch.tensor([1 / 8, 1 / 8, 6 / 8]).log() - torch.tensor([0.6, 0.3, 0.1]).log()
    torch.testing.assert_close(layer.eval()(logits), logits + shift)


def test_class_means_classify_in_eval_mode_only():
    layer = NearestClassMeanLinear(4, 3, features='l2n', metric='dot')
    plain = nn.Linear(4, 3)
    layer.load_state_dict(plain.state_dict(), strict=False)
    features = torch.randn(5, 4)
    torch.testing.assert_close(layer.train()(features), plain(features))
    means = torch.randn(3, 4)
    means[1] = torch.nan
    layer.set_class_means(means, torch.tensor([4, 0, 1]))
    scores = layer.eval()(features)
    expected = F.normalize(features, dim=1) @ means.T / 4
    torch.testing.assert_close(scores[:, [0, 2]], expected[:, [0, 2]])
    assert torch.equal(scores[:, 1], torch.full((5,), -torch.inf))
    assert scores.softmax(1).isfinite().all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert layer(features.bfloat16()).dtype == torch.float32


def test_class_means_are_forgotten_by_a_step_of_training_alone():
    layer = NearestClassMeanLinear(4, 3)
    layer.set_class_means(torch.randn(3, 4), torch.tensor([4, 0, 1]))
    with torch.no_grad():
        layer.train()(torch.randn(5, 4))
    layer.eval()(torch.randn(5, 4))
    layer.train()(torch.randn(5, 4))
    with pytest.raises(RuntimeError, match='no class means of its present weights'):
        layer.eval()(torch.randn(5, 4))


def test_bad_input():
    for cls in (TauNormLinear, TauNormConv2d):
        with pytest.raises(ValueError, match=f'tau of {cls.__name__} is nan'):
            cls(4, 3, tau=float('nan'))
    with pytest.raises(ValueError, match="form of DisAlign is 'x'; use 'paper' or 'code'"):
        DisAlign(3, 4, form='x')
    with pytest.raises(ValueError, match='alpha of PostCompensation is inf'):
        PostCompensation(3, alpha=float('inf'))
    for target in ([1, 1], [0, 1, 1], [1, 1, 1, 1]):
        with pytest.raises(ValueError, match='must be 3 positive numbers, one for each class'):
            PostCompensation(3, target=target)
    for argument in ('target', 'class_counts'):
        with pytest.raises(ValueError, match='150 classes but PostCompensation has 3'):
            PostCompensation(3, **{argument: 'ade20k_pixels'})
    with pytest.raises(RuntimeError, match='give post_compensation=dict.class_counts'):
        PostCompensation(3).eval()(torch.zeros(1, 3))
    with pytest.raises(RuntimeError, match='no class means .*; add .*ClassMeansHook'):
        NearestClassMeanLinear(4, 3).eval()(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="features of NearestClassMeanLinear is 'l2'"):
        NearestClassMeanLinear(4, 3, features='l2')
    with pytest.raises(ValueError, match="metric of NearestClassMeanLinear is 'cl2n'"):
        NearestClassMeanLinear(4, 3, metric='cl2n')
    with pytest.raises(ValueError, match='logits have 4 classes'):
        LearnableWeightScaling(3)(torch.zeros(1, 4))
