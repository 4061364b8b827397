"""The first-order gradient of sample weights against the double backward, in float64."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from lt_mm.functional import (
    development_gradient,
    last_layer_losses_along,
    losses_along,
    macro_shares,
    rectified_weights,
    relative_conditional,
    sample_weight_gradient,
    two_component_weights,
    weight_net_loss,
)

LEARNING_RATE = 0.3
CLASSES = 4


class Net(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.stem = nn.Conv2d(2, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.conv = nn.Conv2d(5, 6, 3)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(6, CLASSES)
        self.unused = nn.Linear(2, 2)

    def features(self, x):
        x = torch.tanh(self.conv(torch.tanh(self.norm(self.stem(x)))))
        return self.dropout(x).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


class Setting:
    """A network, of which ``frozen`` is no parameter to learn, a batch and a development batch."""

    def __init__(self, frozen=(), dropout=0.0, seed=0):
        torch.manual_seed(seed)
        self.net = Net(dropout).double().train()
        self.parameters = {
            name: value.detach()
            for name, value in self.net.named_parameters()
            if not name.startswith(frozen or '-')
        }
        self.x, self.dev_x = torch.randn(2, 8, 2, 7, 7, dtype=torch.float64)
        self.y, self.dev_y = torch.randint(CLASSES, (2, 8))

    def logits(self, parameters, x):
        buffers = {name: value.clone() for name, value in self.net.named_buffers()}
        rest = {name: value.detach() for name, value in self.net.named_parameters()}
        return functional_call(self.net, {**rest, **buffers, **parameters}, (x,))

    def losses(self, parameters):
        return F.cross_entropy(self.logits(parameters, self.x), self.y, reduction='none')

    def dev_loss(self, parameters):
        return F.cross_entropy(self.logits(parameters, self.dev_x), self.dev_y)

    def step(self, weights, parameters=None, graph=False):
        """The virtual step of gradient descent on the weighted mean."""
        leaves = {name: value.clone().requires_grad_() for name, value in self.parameters.items()}
        loss = (weights * self.losses(leaves)).mean()
        grads = torch.autograd.grad(
            loss, list(leaves.values()), create_graph=graph, allow_unused=True
        )
        return {
            name: leaf if grad is None else leaf - LEARNING_RATE * grad
            for (name, leaf), grad in zip(leaves.items(), grads)
        }

    def double_backward(self, weights):
        """The reference: through the step itself."""
        weights = weights.clone().requires_grad_()
        loss = self.dev_loss(self.step(weights, graph=True))
        return torch.autograd.grad(loss, weights)[0]

    def first_order(self, weights, **kwargs):
        after = {name: value.detach() for name, value in self.step(weights).items()}
        v = development_gradient(self.dev_loss, after)
        scores = losses_along(self.losses, self.parameters, v, **kwargs)
        return sample_weight_gradient(scores, LEARNING_RATE, 1 / len(self.y))


@pytest.mark.parametrize('frozen', [(), ('stem',), ('stem', 'norm', 'conv')])
@pytest.mark.parametrize('weighted', [False, True])
def test_it_equals_the_double_backward(frozen, weighted):
    setting = Setting(frozen)
    before = {name: value.clone() for name, value in setting.net.state_dict().items()}
    weights = torch.rand(8, dtype=torch.float64) if weighted else torch.ones(8).double()
    reference = setting.double_backward(weights)
    assert reference.abs().max() > 1e-4
    torch.testing.assert_close(setting.first_order(weights), reference, rtol=1e-10, atol=1e-14)
    found = setting.first_order(weights, engine='finite_difference', step=1e-4)
    torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-9)
    # Running statistics, too, are as they were.
    assert all(torch.equal(value, before[name]) for name, value in setting.net.state_dict().items())


def test_the_last_layer_has_a_closed_form():
    setting = Setting(('stem', 'norm', 'conv', 'unused'))
    v = development_gradient(setting.dev_loss, setting.parameters)
    with torch.no_grad():
        features = setting.net.features(setting.x)
        logits = setting.net.fc(features)
    found = last_layer_losses_along(
        lambda z: F.cross_entropy(z, setting.y, reduction='none'),
        logits,
        features,
        v['fc.weight'],
        v['fc.bias'],
    )
    # By hand, sample by sample.
    naive = torch.stack(
        [
            (p - F.one_hot(y, CLASSES)) @ (v['fc.weight'] @ f + v['fc.bias'])
            for p, y, f in zip(logits.softmax(1), setting.y, features)
        ]
    )
    along = losses_along(setting.losses, setting.parameters, v)
    torch.testing.assert_close(found, naive)
    torch.testing.assert_close(found, along)


def test_the_last_layer_of_pixels():
    torch.manual_seed(0)
    features = torch.randn(2, 5, 3, 3)
    weight, bias, v, v_b = torch.randn(4, 5), torch.randn(4), torch.randn(4, 5), torch.randn(4)
    y = torch.randint(4, (2, 3, 3))

    def losses(p):
        logits = F.conv2d(features, p['w'][..., None, None], p['b'])
        return F.cross_entropy(logits, y, reduction='none')

    logits = F.conv2d(features, weight[..., None, None], bias)
    found = last_layer_losses_along(
        lambda z: F.cross_entropy(z, y, reduction='none'), logits, features, v, v_b
    )
    along = losses_along(losses, dict(w=weight, b=bias), dict(w=v, b=v_b))
    torch.testing.assert_close(found, along)


@pytest.mark.parametrize('engine', ['jvp', 'finite_difference'])
def test_dropout_is_the_same_in_each_call_and_leaves_the_numbers_alone(engine):
    setting = Setting(dropout=0.5)
    v = development_gradient(setting.dev_loss, setting.parameters)
    torch.manual_seed(7)
    expected = torch.autograd.functional.jvp(
        lambda *values: setting.losses(dict(zip(setting.parameters, values))),
        tuple(setting.parameters.values()),
        tuple(v.values()),
    )[1]
    torch.manual_seed(7)
    found = losses_along(setting.losses, setting.parameters, v, engine, 1e-4)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))


def test_attention_has_a_forward_mode():
    def losses(p):
        return F.scaled_dot_product_attention(p['q'], p['q'], p['q']).square().mean((1, 2, 3))

    p = dict(q=torch.randn(2, 2, 4, 8, dtype=torch.float64))
    v = dict(q=torch.randn_like(p['q']))
    exact = losses_along(losses, p, v)
    found = losses_along(losses, p, v, 'finite_difference', 1e-5)
    torch.testing.assert_close(exact, found, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize('engine', ['jvp', 'finite_difference'])
def test_no_direction_and_no_dependence_give_zero(engine):
    setting = Setting()
    v = {name: torch.zeros_like(value) for name, value in setting.parameters.items()}
    assert not losses_along(setting.losses, setting.parameters, v, engine).any()
    ones = {name: torch.ones_like(value) for name, value in setting.parameters.items()}
    assert not losses_along(lambda p: torch.ones(3), setting.parameters, ones, engine).any()


def test_a_direction_that_is_not_finite_gives_no_finite_score():
    setting = Setting()
    v = {name: torch.full_like(value, torch.nan) for name, value in setting.parameters.items()}
    for engine in ('jvp', 'finite_difference'):
        assert not losses_along(setting.losses, setting.parameters, v, engine).isfinite().any()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="engine is 'exact'; use 'jvp' or 'finite_difference'"):
        losses_along(lambda p: p['a'], dict(a=torch.ones(1)), dict(a=torch.ones(1)), 'exact')
    with pytest.raises(ValueError, match='step of a finite difference is 0'):
        losses_along(lambda p: p['a'], {}, {}, 'finite_difference', 0)


def test_a_weight_network_has_the_gradient_of_the_double_backward():
    setting = Setting(seed=3)
    net = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1), nn.Sigmoid()).double()
    values = setting.losses(setting.parameters).detach()
    weights = net(values[:, None])[:, 0]
    loss = setting.dev_loss(setting.step(weights, graph=True))
    expected = torch.autograd.grad(loss, list(net.parameters()))
    weights = net(values[:, None])[:, 0]
    after = {name: value.detach() for name, value in setting.step(weights.detach()).items()}
    v = development_gradient(setting.dev_loss, after)
    scores = losses_along(setting.losses, setting.parameters, v)
    surrogate = weight_net_loss(scores, weights, LEARNING_RATE, 1 / 8)
    found = torch.autograd.grad(surrogate, list(net.parameters()))
    for left, right in zip(found, expected):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-14)


def test_relative_weights_are_free_of_scale():
    scores = torch.tensor([2.0, -1.0, 0.5, 0.0])
    class_weights = torch.tensor([0.5, 2.0, 2.0, 1.0])
    rms = scores.square().mean().sqrt()
    found = relative_conditional(scores, class_weights, rms, 0.5)
    naive = [0.5 * w * max(-1, min(1, s / rms)) for s, w in zip(scores, class_weights)]
    torch.testing.assert_close(found, torch.stack(naive))
    again = relative_conditional(1e6 * scores, class_weights, 1e6 * rms, 0.5)
    torch.testing.assert_close(found, again)
    assert not relative_conditional(scores, class_weights, rms, 0.0).any()
    assert not relative_conditional(torch.zeros(4), class_weights, 0.0, 0.5).any()


def test_floor_and_what_is_not_finite():
    class_weights = torch.tensor([1.0, 2.0, 3.0, 0.0])
    conditional = torch.tensor([-5.0, torch.nan, 1.0, 0.0])
    found = two_component_weights(class_weights, conditional, 0.1)
    torch.testing.assert_close(found, torch.tensor([0.1, 2.0, 4.0, 0.0]))
    assert two_component_weights(class_weights, conditional, None)[0] == -4


def test_rectified_weights():
    scores = torch.tensor([1.0, -2.0, 3.0, torch.nan])
    torch.testing.assert_close(rectified_weights(scores), torch.tensor([0.25, 0.0, 0.75, 0.0]))
    assert not rectified_weights(-scores.abs()).any()
    torch.testing.assert_close(
        rectified_weights(scores, torch.tensor(8.0))[:3], torch.tensor([0.125, 0.0, 0.375])
    )


def test_a_mean_over_classes():
    labels = torch.tensor([0, 0, 0, 2, 2])
    losses = torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0])
    shares = macro_shares(torch.bincount(labels, minlength=4))
    assert (losses * shares[labels]).sum().item() == pytest.approx((2 + 6) / 2)
    assert shares[1] == shares[3] == 0
    assert not macro_shares(torch.zeros(3)).any()
