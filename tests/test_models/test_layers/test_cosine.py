"""Cosine classifiers against the definition of a cosine."""

import math

import pytest
import torch

from lt_mm.models.layers import CosineConv2d, CosineLinear


def test_linear_is_the_cosine_over_the_temperature():
    layer = CosineLinear(4, 3, temperature=0.05)
    features = torch.randn(5, 4)
    logits = layer(features)
    for n in range(5):
        for c in range(3):
            x, w = features[n].tolist(), layer.weight[c].tolist()
            cosine = math.fsum(a * b for a, b in zip(x, w, strict=True))
            cosine /= math.hypot(*x) * math.hypot(*w)
            assert logits[n, c].item() == pytest.approx(cosine / 0.05, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize('layer', [CosineLinear, CosineConv2d])
@pytest.mark.parametrize('further', [(), (1, 1), (1,)])
def test_weights_of_linear_layers_and_of_convolutions_of_single_pixels(layer, further):
    weight = torch.randn(3, 4)
    state = dict(weight=weight.reshape(3, 4, *further))
    loaded = layer(4, 3)
    loaded.load_state_dict(state)
    assert torch.equal(loaded.weight, weight)
    assert state['weight'].shape == (3, 4, *further) and loaded.state_dict().keys() == {'weight'}
    with pytest.raises(RuntimeError, match='size mismatch'):
        loaded.load_state_dict(dict(weight=torch.randn(3, 4, 3, 3)))


def test_conv_is_the_linear_layer_at_every_pixel():
    conv, linear = CosineConv2d(4, 3), CosineLinear(4, 3)
    linear.load_state_dict(conv.state_dict())
    features = torch.randn(2, 4, 5, 6)
    rows = features.permute(0, 2, 3, 1).reshape(-1, 4)
    torch.testing.assert_close(conv(features).permute(0, 2, 3, 1).reshape(-1, 3), linear(rows))


@pytest.mark.parametrize('layer', [CosineLinear(4, 3).double(), CosineConv2d(4, 3).double()])
def test_gradcheck(layer):
    shape = (2, 4, 2, 2) if isinstance(layer, CosineConv2d) else (2, 4)
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: layer(x), (features, layer.weight))


def test_scale_of_features_and_weights_does_not_matter():
    layer = CosineLinear(4, 3)
    features = torch.randn(5, 4)
    before = layer(features)
    layer.weight.data *= torch.tensor([[1.0], [100.0], [0.01]])
    torch.testing.assert_close(layer(7 * features), before)


def test_zero_and_half_precision_features_and_autocast():
    layer = CosineConv2d(4, 3)
    assert (layer(torch.zeros(1, 4, 1, 1)) == 0).all()
    assert layer(torch.full((1, 4, 1, 1), 60000.0, dtype=torch.float16)).isfinite().all()
    features = torch.randn(1, 4, 1, 1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under_autocast = layer(features)
    assert under_autocast.dtype == torch.float32
    torch.testing.assert_close(under_autocast, layer(features))


def test_starts_as_unit_vectors():
    torch.testing.assert_close(CosineLinear(8, 5).weight.norm(dim=1), torch.ones(5))


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match='temperature of the cosine classifier is 0'):
        CosineLinear(4, 3, temperature=0)
