"""GMLLoss: eqs. 5 and 11 over the queue, absent classes, and who gets a gradient."""

import math

import pytest
import torch

from lt_mm.models.losses import GMLLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 10, 5]


def make(**kwargs):
    torch.manual_seed(0)
    loss = GMLLoss(4, 6, **{'size': 30, 'min_size': 2, 'widths': (8, 5), **kwargs}).double()
    loss.set_class_counts(ClassCounts(COUNTS))
    return loss


def naive(loss, features, labels, alpha):
    """-log of eq. 11, one query at a time, in Python floats."""
    keys = loss.queue.keys()
    classes = [c for c, length in enumerate(keys.lengths.tolist()) for _ in range(length)]
    centres = loss.key_mlp(keys.features).tolist()
    total, used = 0.0, 0
    for query, label in zip(loss.query_mlp(features).tolist(), labels.tolist(), strict=True):
        if label not in classes:
            continue
        terms = {}
        for c in set(classes):
            own = [z for z, k in zip(centres, classes, strict=True) if k == c]
            dots = [sum(a * b for a, b in zip(query, z, strict=True)) for z in own]
            likelihood = sum(math.exp(dot / loss.temperature) for dot in dots) / len(own)
            terms[c] = likelihood * (COUNTS[c] / 100) ** alpha
        total -= math.log(terms[label] / sum(terms.values()))
        used += 1
    return total / used


@pytest.mark.parametrize('alpha', [0.0, 0.2, 1.0])
@pytest.mark.parametrize('present', [(0, 1, 2, 3), (0, 2)])
def test_equals_eqs_5_and_11(alpha, present):
    loss = make(alpha=alpha)
    labels = torch.tensor(present).repeat(6)
    loss.queue.enqueue(torch.randn(len(labels), 6), labels)
    features, targets = torch.randn(9, 6, dtype=torch.float64), torch.arange(9) % 4
    assert loss(features, targets)['loss_gml'].item() == pytest.approx(
        naive(loss, features, targets, alpha), rel=1e-5
    )


def test_gradcheck_of_features_through_both_networks():
    loss = make()
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    features = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(5) % 4

    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels)['loss_gml'], (features,))


def test_both_embeddings_learn_and_the_queue_does_not():
    loss = make()
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    loss(torch.randn(5, 6, dtype=torch.float64), torch.arange(5) % 4)['loss_gml'].backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert not loss.queue.features.requires_grad


@pytest.mark.parametrize('rows', [0, 3])
def test_nothing_to_learn_from_is_zero_with_a_graph(rows):
    loss = make()
    if rows == 0:
        loss.queue.enqueue(torch.randn(8, 6), torch.arange(8) % 4)
    value = loss(torch.randn(rows, 6, dtype=torch.float64), torch.zeros(rows, dtype=torch.long))[
        'loss_gml'
    ]
    value.backward()
    assert value == 0
    assert all((p.grad == 0).all() for p in loss.parameters())


def test_key_channels_may_differ():
    loss = make(key_channels=3)
    loss.queue.enqueue(torch.randn(8, 3), torch.arange(8) % 4)
    assert loss(torch.randn(5, 6, dtype=torch.float64), torch.arange(5) % 4)['loss_gml'].isfinite()


def test_class_first_seen_after_many_steps():
    loss = make()
    for _ in range(20):
        loss.queue.enqueue(torch.randn(6, 6), torch.arange(6) % 3)
    before = loss(torch.randn(4, 6, dtype=torch.float64), torch.arange(4) % 4)['loss_gml']
    loss.queue.enqueue(torch.randn(1, 6), torch.tensor([3]))
    after = loss(torch.randn(4, 6, dtype=torch.float64), torch.arange(4) % 4)['loss_gml']
    assert before.isfinite() and after.isfinite()
    assert loss.queue.filled[3] == 1


def test_one_class():
    loss = GMLLoss(1, 6, size=4, min_size=1, widths=(5,))
    loss.set_class_counts(ClassCounts([9]))
    loss.queue.enqueue(torch.randn(2, 6), torch.zeros(2))
    assert loss(torch.randn(3, 6), torch.zeros(3, dtype=torch.long))[
        'loss_gml'
    ].item() == pytest.approx(0)


def test_autocast_gives_a_finite_float32_loss():
    loss = make().float()
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(torch.randn(5, 6), torch.arange(5) % 4)['loss_gml']
    assert value.dtype == torch.float32 and value.isfinite()


def with_temperature(**kwargs):
    loss = make(trainable_temperature=True, mixture_temperature=0.3, **kwargs)
    labels = torch.arange(24) % 4
    loss.queue.enqueue(torch.randn(24, 6), labels, ids=torch.arange(24) // 3)
    return loss


def test_temperature_term_leaves_out_keys_of_the_same_sample():
    """Restated with a queue from which the sample's keys are taken out by hand."""
    loss = with_temperature()
    features = torch.randn(3, 6, dtype=torch.float64)
    labels, ids = torch.tensor([0, 1, 2]), torch.tensor([0, 5, 99])
    keys = loss.queue.keys()
    expected = 0.0
    for row, label, sample in zip(features, labels, ids, strict=True):
        other = make(mixture_temperature=0.3)
        other.load_state_dict(loss.state_dict(), strict=False)
        kept = keys.ids != sample
        classes = torch.repeat_interleave(torch.arange(4), keys.lengths)[kept]
        other.queue.filled.zero_()
        other.queue.positions.zero_()
        other.queue.enqueue(keys.features[kept], classes)
        expected += naive(other, row[None], label[None], 1.0) / 3
    losses = loss(features, labels, ids)
    assert losses['loss_gml_temperature'].item() == pytest.approx(expected, rel=1e-5)
    assert losses['loss_gml_temperature'].item() != pytest.approx(losses['loss_gml'].item())
    assert losses['gml_temperature'].item() == pytest.approx(0.3)


def test_the_term_of_the_temperature_has_the_weight_of_the_loss():
    """As in the public code, beta is before the sum of both terms."""
    plain, weighted = with_temperature(), with_temperature(loss_weight=2.0)
    weighted.load_state_dict(plain.state_dict())
    rows = torch.randn(3, 6, dtype=torch.float64), torch.tensor([0, 1, 2]), torch.tensor([0, 5, 99])
    plain, weighted = plain(*rows), weighted(*rows)
    for name in ('loss_gml', 'loss_gml_temperature'):
        assert weighted[name].item() == pytest.approx(2 * plain[name].item()) != 0


def test_only_its_own_term_moves_the_temperature_and_moves_nothing_else():
    loss = with_temperature()
    features = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    losses = loss(features, torch.arange(5) % 4, torch.arange(5))
    losses['loss_gml'].backward(retain_graph=True)
    assert loss.log_temperature.grad is None and features.grad.abs().sum() > 0
    loss.zero_grad()
    features.grad = None
    losses['loss_gml_temperature'].backward()
    assert loss.log_temperature.grad != 0 and features.grad is None
    assert all(p.grad is None for p in loss.query_mlp.parameters())
    assert all(p.grad is None for p in loss.key_mlp.parameters())


def test_gradcheck_of_the_temperature():
    loss = with_temperature()
    features, labels, ids = torch.randn(5, 6).double(), torch.arange(5) % 4, torch.arange(5)

    def term(log_temperature):
        loss._parameters['log_temperature'] = log_temperature
        return loss(features, labels, ids)['loss_gml_temperature']

    assert torch.autograd.gradcheck(term, (loss.log_temperature.detach().requires_grad_(),))


def test_temperature_without_a_foreign_key_of_the_class_is_zero_with_a_graph():
    loss = make(trainable_temperature=True)
    loss.queue.enqueue(torch.randn(2, 6), torch.tensor([0, 1]), ids=torch.tensor([7, 8]))
    losses = loss(torch.randn(1, 6).double(), torch.tensor([0]), torch.tensor([7]))
    losses['loss_gml_temperature'].backward()
    assert losses['loss_gml_temperature'] == 0 and loss.log_temperature.grad == 0


@pytest.mark.parametrize('seed', range(4))
def test_temperature_term_of_queries_without_a_foreign_key_is_left_out(seed):
    """Restated by leaving out at the start what has no key of its class but of its own sample."""
    loss = make(trainable_temperature=True, alpha=0.0)
    generator = torch.Generator().manual_seed(seed)
    labels, ids = (torch.randint(3, (n,), generator=generator) for n in (5, 5))
    loss.queue.enqueue(torch.randn(5, 6), labels, ids)
    features = torch.randn(12, 6, dtype=torch.float64)
    targets, samples = torch.arange(12) % 4, torch.arange(12) // 4
    known = torch.tensor(
        [
            any(label == target and own != sample for label, own in zip(labels, ids, strict=True))
            for target, sample in zip(targets, samples, strict=True)
        ]
    )
    assert 0 < known.sum() < 12
    expected = loss(features[known], targets[known], samples[known])['loss_gml_temperature']
    found = loss(features, targets, samples)['loss_gml_temperature']
    torch.testing.assert_close(found, expected)
    assert found > 0


def test_a_temperature_that_was_learnt_to_be_nothing():
    loss = with_temperature()
    with torch.no_grad():
        loss.log_temperature.fill_(-torch.inf)
    with pytest.raises(ValueError, match='temperature of the mixture of GMLLoss.* is 0.0, but it '):
        loss(torch.randn(2, 6).double(), torch.tensor([0, 1]), torch.tensor([0, 1]))


@pytest.mark.parametrize('ids', [None, torch.tensor([3, -1])])
def test_temperature_needs_to_know_the_samples(ids):
    with pytest.raises(ValueError, match="keep 'img_path' in meta_keys"):
        with_temperature()(torch.randn(2, 6).double(), torch.tensor([0, 1]), ids)


@pytest.mark.parametrize(
    ('name', 'told'), [('mixture_temperature', 'temperature of the mixture'), ('alpha', 'alpha')]
)
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_settings_that_are_not_finite(name, told, value):
    with pytest.raises(ValueError, match=f'{told} of GMLLoss is {value}'):
        make(**{name: value})


def contrast_batch(views=1, **changes):
    batch = ContrastBatch(
        queries=torch.randn(views, 4, 6).double(),
        keys=torch.randn(4, 6).double(),
        labels=torch.arange(4),
        ids=torch.arange(4),
        indices=torch.arange(4),
        classifier=torch.nn.Identity(),
    )
    return batch._replace(**changes)


@pytest.mark.parametrize('views', [1, 2])
def test_contrast_queues_the_keys_and_then_compares(views):
    loss, batch = make(), contrast_batch(views)
    losses = loss.contrast(batch)
    assert torch.equal(loss.queue.keys().features, batch.keys)
    assert torch.equal(loss.queue.keys().ids, batch.ids)
    labels = torch.arange(4).repeat(views)
    expected = naive(loss, batch.queries.flatten(0, 1), labels, 1.0)
    assert losses['loss_gml'].item() == pytest.approx(expected, rel=1e-5)
    assert losses['gml_queue_filled'].item() == pytest.approx(4 / 30)
    assert set(losses) == {'loss_gml', 'gml_queue_filled'} and loss.num_query_views == 1


def test_contrast_gives_the_temperature_the_samples():
    loss = with_temperature()
    losses = loss.contrast(contrast_batch())
    expected = loss(contrast_batch().queries[0], torch.arange(4), torch.arange(4))
    assert losses.keys() == expected.keys() >= {'loss_gml_temperature'}
    with pytest.raises(ValueError, match="keep 'img_path' in meta_keys"):
        loss.contrast(contrast_batch(ids=torch.full((4,), -1)))


def test_contrast_refuses_keys_of_another_width():
    with pytest.raises(ValueError, match='set key_channels to the width'):
        make().contrast(contrast_batch(keys=torch.randn(4, 9)))


@pytest.mark.parametrize('number', [0, 1, 9])
def test_a_norm_in_both_mlps_for_any_number_of_queries(number):
    loss = make(norm=dict(type='BN1d'))
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    features = torch.randn(number, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(number) % 4
    value = loss(features, labels)['loss_gml']
    value.backward()
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert value.item() == (pytest.approx(naive(loss, features, labels, 1.0)) if number else 0)
