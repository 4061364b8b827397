"""One layer predicts what classifier, alignment and compensation do together."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lt_mm.export.folding import fold, total_shift
from lt_mm.models.layers import (
    CosineConv2d,
    CosineLinear,
    DisAlign,
    LearnableWeightScaling,
    NearestClassMeanLinear,
    PostCompensation,
    TauNormConv2d,
    TauNormLinear,
)

C, D = 4, 6
SHIFT = torch.tensor([0.5, -1.0, 2.0, 0.0])


def class_means(features, metric, empty=False):
    layer = NearestClassMeanLinear(D, C, features, metric)
    counts = torch.tensor([3, 2, 1, 0 if empty else 1])
    layer.set_class_means(torch.randn(C, D), counts, torch.randn(D))
    return layer


CLASSIFIERS = {
    'linear': lambda: nn.Linear(D, C),
    'linear without bias': lambda: nn.Linear(D, C, bias=False),
    'conv': lambda: nn.Conv2d(D, C, 1),
    'cosine': lambda: CosineLinear(D, C, 0.1),
    'cosine conv': lambda: CosineConv2d(D, C, 0.1),
    'tau': lambda: TauNormLinear(D, C, tau=0.7),
    'tau with bias': lambda: TauNormLinear(D, C, tau=0.7, keep_bias=True),
    'tau conv': lambda: TauNormConv2d(D, C, tau=0.7),
    **{
        f'means {features} {metric}': (lambda pair: lambda: class_means(*pair))((features, metric))
        for features, metric in itertools.product(('un', 'l2n', 'cl2n'), ('l2', 'dot'))
    },
    'empty class': lambda: class_means('cl2n', 'l2', empty=True),
}


def lws():
    layer = LearnableWeightScaling(C)
    nn.init.uniform_(layer.scale, 0.5, 2)
    return layer


def disalign(form, constant):
    layer = DisAlign(C, D, form)
    nn.init.normal_(layer.scale)
    nn.init.normal_(layer.shift)
    nn.init.constant_(layer.confidence.weight, 0.0 if constant else 0.1)
    nn.init.constant_(layer.confidence.bias, 0.3)
    return layer


ALIGNMENTS = {
    'none': lambda: None,
    'lws': lws,
    'disalign paper': lambda: disalign('paper', True),
    'disalign code': lambda: disalign('code', True),
    'untrained disalign': lambda: DisAlign(C, D),
}


def apply(folded, features):
    """The layer, written out."""
    if folded.centre is not None:
        features = features - folded.centre.reshape(-1, *(1,) * (features.ndim - 2))
    if folded.normalized:
        features = F.normalize(features, dim=1)
    if features.ndim == 2:
        return features @ folded.weight.T + folded.bias
    weight = folded.weight.reshape(C, D)
    return torch.einsum('cd,ndhw->nchw', weight, features) + folded.bias[:, None, None]


@pytest.mark.parametrize(('classifier', 'alignment'), itertools.product(CLASSIFIERS, ALIGNMENTS))
def test_probabilities_are_the_same(classifier, alignment):
    torch.manual_seed(0)
    layer = CLASSIFIERS[classifier]().eval()
    align = ALIGNMENTS[alignment]()
    if classifier == 'means un l2' and alignment not in ('none', 'untrained disalign'):
        with pytest.raises(ValueError, match="distances of each class.*use features='l2n'"):
            fold(layer, align, SHIFT)
        return
    size = (5, D, 2, 3) if 'conv' in classifier else (5, D)
    features = 3 * torch.randn(size)
    with torch.no_grad():
        logits = layer(features)
        logits = logits if align is None else align(logits, features)
        logits = logits + SHIFT.reshape(-1, *(1,) * (features.ndim - 2))
        found = apply(fold(layer, align, SHIFT), features)
    if 'means' not in classifier and classifier != 'empty class':
        torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found.softmax(1), logits.softmax(1), rtol=1e-4, atol=1e-5)


def test_a_linear_layer_stays_as_it_is_bit_for_bit():
    layer = nn.Linear(D, C)
    folded = fold(layer)
    assert torch.equal(folded.weight, layer.weight) and torch.equal(folded.bias, layer.bias)


def test_what_no_layer_does():
    with pytest.raises(ValueError, match='confidence of DisAlign differs'):
        fold(nn.Linear(D, C), disalign('paper', constant=False))
    with pytest.raises(ValueError, match='alignment is a Identity'):
        fold(nn.Linear(D, C), nn.Identity())
    with pytest.raises(ValueError, match='classifier is a Bilinear'):
        fold(nn.Bilinear(2, 3, C))
    with pytest.raises(ValueError, match='no class means.*ClassMeansHook'):
        fold(NearestClassMeanLinear(D, C))


def test_shift_of_a_head():
    head = nn.Module()
    head.num_classes, head.post_compensation = C, None
    assert total_shift(head) is None
    assert torch.equal(total_shift(head, torch.ones(C)), torch.ones(C))
    head.post_compensation = PostCompensation(C, alpha=0.5, class_counts=[4, 2, 1, 1])
    expected = -0.5 * torch.tensor([4 / 8, 2 / 8, 1 / 8, 1 / 8]).log()
    torch.testing.assert_close(total_shift(head), expected)
    torch.testing.assert_close(total_shift(head, torch.ones(C)), expected + 1)
    head.post_compensation = PostCompensation(C)
    with pytest.raises(ValueError, match='no class counts of the training'):
        total_shift(head)
