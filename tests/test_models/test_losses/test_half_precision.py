"""Every loss on logits of half precision, as large as they may be: finite, and that of float64."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from lt_mm.models.losses.contrast_loss import ContrastBatch, ContrastLoss
from lt_mm.models.losses.expert_loss import ExpertLoss
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts, TextFeatures

C, D = 4, 6
OF_LOGITS = {
    'LogitAdjustedLoss': {},
    'temperature': dict(type='LogitAdjustedLoss', temperature=0.05),
    'tail': dict(type='LogitAdjustedLoss', backward=2.0),
    'WeightedCrossEntropyLoss': dict(class_weight=dict(type='inverse'), average='weights'),
    'sigmoids': dict(type='WeightedCrossEntropyLoss', class_weight=None, use_sigmoid=True),
    'FocalLoss': {},
    'root': dict(type='FocalLoss', gamma=0.5),
    'sigmoid focal': dict(type='FocalLoss', use_sigmoid=True, gamma=0.5, alpha=0.25),
    'LDAMLoss': {},
    'LabelAwareSmoothingLoss': {},
    'LADELoss': {},
    'SeesawLoss': {},
    'seen': dict(type='SeesawLoss', num_classes=C),
}
OF_EXPERTS = {
    'MutualLoss': {},
    'sharp': dict(type='MutualLoss', temperature=0.05),
    'DiversityLoss': dict(class_factor=0.05),
    'sharp diversity': dict(type='DiversityLoss', temperature=0.05),
    'HardCategoryLoss': dict(num_hard=2),
    'sharp hard': dict(type='HardCategoryLoss', num_hard=2, temperature=0.05),
}
OF_FEATURES = {
    'GMLLoss': dict(size=40, min_size=2, widths=(5, 4)),
    'learnt': dict(type='GMLLoss', size=40, min_size=2, widths=(5, 4), trainable_temperature=True),
    'sharp GML': dict(type='GMLLoss', size=40, min_size=2, widths=(5, 4), mixture_temperature=0.01),
    'TextGMLLoss': dict(widths=(5, 4)),
    'SupConLoss': dict(widths=(5, 4), temperature=0.01),
    'BCLLoss': dict(widths=(5, 4), temperature=0.01),
    'PaCoLoss': dict(widths=(5, 4), size=8, temperature=0.01),
    'CRDLoss': dict(num_samples=20, dim=4, num_negatives=3, temperature=0.01),
}
DTYPES = [torch.float16, torch.bfloat16]
SCALES = [1.0, 4000.0, 6e4]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def build(name, options, **more):
    loss = MODELS.build({'type': name, **options[name], **more})
    if hasattr(loss, 'set_class_counts'):
        loss.set_class_counts(ClassCounts([7000, 200, 30, 1]))
    return loss


def test_every_loss_is_here():
    classes = {value for value in MODELS.module_dict.values() if isinstance(value, type)}
    found = {
        cls.__name__
        for cls in classes
        if issubclass(cls, LogitLoss | ExpertLoss | ContrastLoss) and cls.__module__[:6] == 'lt_mm.'
    }
    named = {
        config.get('type', name)
        for options in (OF_LOGITS, OF_EXPERTS, OF_FEATURES)
        for name, config in options.items()
    }
    assert found == named


def targets(kind, shape):
    if kind == 'soft':
        return torch.randn(shape[0], C, *shape[1:]).softmax(1)
    target = torch.randint(C, shape)
    target[0] = 255
    return torch.full(shape, 255) if kind == 'ignored' else target


def compare(function, logits, dtype, autocast):
    """Value and gradient of half precision and of the same numbers in float64."""
    low = logits.detach().clone().to(dtype).requires_grad_()
    high = low.detach().double().requires_grad_()
    with torch.autocast('cpu', dtype=dtype, enabled=autocast):
        value = function(low)
    value.backward()
    expected = function(high)
    expected.backward()
    assert value.dtype == torch.float32 and value.isfinite() and low.grad.isfinite().all()
    # What float32 rounds of logits, some of which are divided by 0.05.
    rounding = 20 * torch.finfo(torch.float32).eps * logits.abs().max().item() if len(logits) else 0
    tolerance = 1e-5 + 2 * rounding
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=tolerance)
    # One more rounding, of the result, and what is too small for the type.
    eps = torch.finfo(dtype).eps
    scale = high.grad.abs().max().item() if high.numel() else 0
    torch.testing.assert_close(
        low.grad.double(),
        high.grad,
        rtol=2 * eps + tolerance,
        atol=(eps + tolerance) * scale + 1e-6,
    )


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', OF_LOGITS)
def test_losses_of_logits(name, scale, dtype, autocast):
    loss = build(name, OF_LOGITS).eval()
    for shape in ((6,), (2, 3, 3)):
        logits = scale * torch.rand(shape[0], C, *shape[1:]).mul(2).sub(1)
        for kind in ('hard', 'soft', 'ignored'):
            target = targets(kind, shape)
            compare(lambda z, y=target: loss(z, y, ignore_index=255), logits, dtype, autocast)
    # All alike, one far above the others, and no element.
    for logits in (torch.full((3, C), scale), scale * (2 * torch.eye(C)[:3] - 1)):
        for label in range(C):
            target = torch.full((3,), label)
            compare(lambda z, y=target: loss(z, y), logits, dtype, autocast)
    for target in (torch.zeros(0, dtype=torch.int64), torch.zeros(0, C)):
        compare(lambda z, y=target: loss(z, y), torch.zeros(0, C), dtype, autocast)


def test_the_example():
    loss = build('temperature', OF_LOGITS)
    logits = torch.full((2, C), 4000.0, dtype=torch.float16, requires_grad=True)
    for target in (torch.tensor([0, 1]), torch.tensor([255, 255])):
        logits.grad = None
        value = loss(logits, target, ignore_index=255)
        value.backward()
        assert value.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', OF_EXPERTS)
def test_losses_between_experts(name, scale, dtype, autocast):
    loss = build(name, OF_EXPERTS)
    for shape in ((6,), (2, 3, 3)):
        logits = scale * torch.rand(3, shape[0], C, *shape[1:]).mul(2).sub(1)
        for kind in ('hard', 'ignored'):
            target = targets(kind, shape)
            compare(
                lambda z, y=target: sum(loss(z, y, ignore_index=255).values()),
                logits,
                dtype,
                autocast,
            )


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('temperature', [0.05, 4.0])
def test_distillation(scale, dtype, autocast, temperature):
    loss = MODELS.build(dict(type='KDLoss', temperature=temperature))
    logits, teacher = scale * torch.rand(2, 5, C, 3).mul(2).sub(1).to(dtype)
    compare(lambda z: loss(z, teacher.to(z.dtype)), logits, dtype, autocast)
    compare(lambda z: loss(z, z.detach()), logits[:0], dtype, autocast)


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('rows', [8, 0])
@pytest.mark.parametrize('scale', [1e-3, 1.0, 300.0])
@pytest.mark.parametrize('name', OF_FEATURES)
def test_losses_of_features(name, scale, rows, dtype, autocast, tmp_path):
    """Finite; of the value, only that it is near, since the linear layers round, too."""
    more = dict(num_classes=C, in_channels=D)
    if name == 'TextGMLLoss':
        texts = TextFeatures(torch.randn(C, D), torch.ones(C, dtype=torch.int64), ())
        texts.save(tmp_path / 'texts.npz')
        more['text_features'] = tmp_path / 'texts.npz'
    loss = build(name, OF_FEATURES, **more)
    classifier = nn.Linear(D, C)
    labels = torch.arange(8)[:rows] % C
    rounded = (scale * torch.randn(2, 8, D)[:, :rows]).to(dtype)
    values = []
    for low in (True, False):
        one, features = copy.deepcopy(loss), rounded.clone().to(dtype if low else torch.float32)
        features.requires_grad_()
        batch = ContrastBatch(
            features[: loss.num_query_views],
            features[0].detach(),
            labels,
            torch.arange(rows),
            torch.arange(rows),
            copy.deepcopy(classifier),
        )
        # CRD draws its negatives.
        torch.manual_seed(1)
        with torch.autocast('cpu', dtype=dtype, enabled=low and autocast):
            if low and not autocast:
                batch = batch._replace(classifier=nn.Sequential(Float(), batch.classifier))
                batch.classifier.weight = batch.classifier[1].weight
            found = one.contrast(batch)
        total = sum(value for key, value in found.items() if 'loss' in key)
        total.backward()
        assert total.isfinite() and features.grad.isfinite().all()
        for part in (*one.parameters(), *batch.classifier.parameters()):
            assert part.grad is None or part.grad.isfinite().all()
        values.append(total.item())
    tolerance = 1e-4 if not autocast else 0.1 if dtype == torch.float16 else 0.5
    assert math.isclose(*values, rel_tol=tolerance, abs_tol=tolerance)


class Float(nn.Module):
    def forward(self, features):
        return features.float()


def test_numbers_of_numpy_are_settings_too():
    assert MODELS.build(dict(type='KDLoss', temperature=np.float32(2))).temperature == 2
