"""PaCoLoss: what it compares with, its moving average and its queue, and how both resume."""

import copy
import math

import pytest
import torch

import lt_mm  # noqa: F401
from lt_mm.functional import logit_adjusted_cross_entropy, parametric_contrastive_loss
from lt_mm.models.losses import PaCoLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts

COUNTS = ClassCounts([60, 25, 10, 5])
LABELS = torch.tensor([0, 1, 0, 2])


def make(counts=COUNTS, **kwargs):
    torch.manual_seed(0)
    arguments = dict(num_classes=4, in_channels=6, widths=(8, 5), size=6, momentum=0.75)
    loss = MODELS.build(dict(type='lt_mm.PaCoLoss', **{**arguments, **kwargs})).double()
    loss.queue.half()
    if counts is not None:
        loss.set_class_counts(counts)
    return loss


def classifier_of():
    torch.manual_seed(2)
    return torch.nn.Linear(6, 4).double()


def batch_of(seed, labels=LABELS, classifier=None, views=1):
    torch.manual_seed(seed)
    queries = torch.randn(views, len(labels), 6, dtype=torch.float64, requires_grad=True)
    keys = torch.randn(len(labels), 6, dtype=torch.float64)
    nothing = torch.full_like(labels, -1)
    return ContrastBatch(queries, keys, labels, nothing, nothing, classifier or classifier_of())


def expected(loss, batch, earlier, earlier_labels, key_mlp):
    """The loss with keys and weights as they should be."""
    queries, keys = loss.query_mlp(batch.queries[0]), key_mlp(batch.keys)
    terms = parametric_contrastive_loss(
        queries,
        batch.labels,
        torch.cat([queries, keys, earlier]),
        torch.cat([batch.labels, batch.labels, earlier_labels]),
        batch.classifier(batch.queries[0]),
        loss.temperature,
        log_prior=COUNTS.log_prior(),
        alpha=loss.alpha,
        beta=loss.beta,
        self_indices=torch.arange(len(queries)),
    )
    return terms.mean()


def test_wants_one_view():
    assert PaCoLoss.num_query_views == 1


def test_compares_with_queries_keys_earlier_keys_and_centres():
    loss = make(loss_weight=0.5, temperature=0.1, alpha=0.3, beta=0.7)
    # Of two batches of keys the queue holds the last six.
    batches = [batch_of(seed) for seed in range(3)]
    first, second = (loss.query_mlp(batch.keys).detach().half().double() for batch in batches[:2])
    value = loss.contrast(batches[0])
    assert set(value) == {'loss_paco'}
    wanted = expected(loss, batches[0], first[:0], LABELS[:0], loss.query_mlp)
    torch.testing.assert_close(value['loss_paco'], 0.5 * wanted)
    value = loss.contrast(batches[1])['loss_paco']
    torch.testing.assert_close(
        value, 0.5 * expected(loss, batches[1], first, LABELS, loss.query_mlp)
    )
    value = loss.contrast(batches[2])['loss_paco']
    earlier = torch.cat([first[2:], second])
    wanted = expected(loss, batches[2], earlier, torch.cat([LABELS[2:], LABELS]), loss.query_mlp)
    torch.testing.assert_close(value, 0.5 * wanted)


def test_key_mlp_copies_first_and_then_follows_by_the_momentum():
    loss = make()
    with torch.no_grad():
        for parameter in loss.query_mlp.parameters():
            parameter.normal_()
    start = copy.deepcopy(loss.query_mlp.state_dict())
    loss.contrast(batch_of(0))
    for name, value in loss.key_mlp.module.state_dict().items():
        assert torch.equal(value, start[name]), name
    with torch.no_grad():
        for parameter in loss.query_mlp.parameters():
            parameter.add_(1)
    loss.contrast(batch_of(1))
    for name, value in loss.key_mlp.module.state_dict().items():
        torch.testing.assert_close(value, start[name] + 0.25)


def test_the_queue_is_of_unit_rows_with_their_labels_and_nothing_else():
    loss = make(size=100)
    loss.contrast(batch_of(0))
    keys = loss.queue.keys()
    assert keys.ids.tolist() == LABELS.tolist()
    torch.testing.assert_close(
        keys.features.double().norm(dim=1), torch.ones(4).double(), rtol=1e-3, atol=0
    )


def test_gradients_reach_queries_mlp_and_classifier_and_not_the_keys():
    loss = make()
    loss.contrast(batch_of(0))
    batch = batch_of(1)
    loss.contrast(batch)['loss_paco'].backward()
    assert batch.queries.grad.any() and batch.classifier.weight.grad.any()
    assert all(parameter.grad.any() for parameter in loss.query_mlp.parameters())
    assert not any(parameter.requires_grad for parameter in loss.key_mlp.parameters())


def test_gradcheck():
    loss = make().eval()
    batch = batch_of(0)
    assert torch.autograd.gradcheck(
        lambda rows: loss.contrast(batch._replace(queries=rows))['loss_paco'], (batch.queries,)
    )


def test_eval_mode_changes_nothing():
    loss = make()
    loss.contrast(batch_of(0))
    before = copy.deepcopy(loss.state_dict())
    loss.eval().contrast(batch_of(1))
    for name, value in loss.state_dict().items():
        assert torch.equal(value, before[name]), name


def train(loss, steps, classifier):
    optimizer = torch.optim.SGD([*loss.query_mlp.parameters(), *classifier.parameters()], lr=0.1)
    values = []
    for step in steps:
        value = loss.contrast(batch_of(step, classifier=classifier))['loss_paco']
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def test_resumed_from_a_state_dict_it_goes_on_as_if_uninterrupted():
    loss, classifier = make(), classifier_of()
    train(loss, range(3), classifier)
    saved = copy.deepcopy((loss.state_dict(), classifier.state_dict()))
    going_on = train(loss, range(3, 6), classifier)

    resumed, classifier = make(counts=None), classifier_of()
    resumed.load_state_dict(saved[0])
    classifier.load_state_dict(saved[1])
    resumed.set_class_counts(COUNTS)
    assert train(resumed, range(3, 6), classifier) == going_on
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, loss.state_dict()[name]), name


def test_other_class_counts_move_the_prior_and_leave_the_queue():
    loss = make()
    loss.contrast(batch_of(0))
    before = loss.queue.keys()
    for part in loss.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([1, 1, 1, 97]))
    assert torch.equal(loss.queue.keys().features, before.features)
    assert loss.class_counts.require_log_prior().argmax() == 3


def test_batch_of_one_meets_its_key_and_the_centres():
    loss = make(alpha=0.0)
    batch = batch_of(0, labels=LABELS[:1])
    value = loss.contrast(batch)['loss_paco']
    centres = batch.classifier(batch.queries[0])
    lower = logit_adjusted_cross_entropy(centres, batch.labels, COUNTS.log_prior())
    assert value > lower.item()


def test_empty_batch_is_zero_with_a_graph():
    loss = make()
    batch = batch_of(0, labels=LABELS[:0])
    value = loss.contrast(batch)['loss_paco']
    value.backward()
    assert value == 0
    assert all((parameter.grad == 0).all() for parameter in loss.query_mlp.parameters())
    assert (batch.classifier.weight.grad == 0).all()


def test_class_without_a_training_image():
    loss = make(counts=ClassCounts([60, 25, 10, 0]))
    value = loss.contrast(batch_of(0, labels=torch.tensor([0, 3])))['loss_paco']
    assert 0 < value < 100


def test_float16_features_give_a_float32_loss():
    loss, classifier = make().float(), classifier_of().float()
    batch = batch_of(0, classifier=classifier)
    batch = batch._replace(queries=batch.queries.half(), keys=batch.keys.half())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss.contrast(batch)['loss_paco']
    assert value.dtype == torch.float32 and 0 < value < 100


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(temperature=0.0), 'temperature of PaCoLoss is 0.0, but it must be positive'),
        (dict(temperature=math.inf), 'temperature of PaCoLoss is inf'),
        (dict(alpha=-0.1), 'alpha of PaCoLoss is -0.1, but it must be zero or more'),
        (dict(beta=0.0), 'beta of PaCoLoss is 0.0, but it must be positive'),
        (dict(beta=math.nan), 'beta of PaCoLoss is nan'),
        (dict(momentum=1.0), 'momentum of PaCoLoss is 1.0, but it must be between 0 and 1'),
        (dict(momentum=0.0), 'momentum of PaCoLoss is 0.0'),
        (dict(key_channels=7), 'key_channels of PaCoLoss is 7 and in_channels 6'),
        (dict(size=0), 'size=0 is too small'),
        (dict(widths=()), 'widths is empty'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_key_channels_may_be_named():
    assert make(key_channels=6).contrast(batch_of(0))['loss_paco'] > 0


def test_without_class_counts():
    with pytest.raises(RuntimeError, match='PaCoLoss needs class counts'):
        make(counts=None).contrast(batch_of(0))


@pytest.mark.parametrize('label', [-1, 4])
def test_label_that_is_no_class(label):
    with pytest.raises(ValueError, match=f'label {label} reached PaCoLoss'):
        make().contrast(batch_of(0, labels=torch.tensor([label])))


def test_keys_that_are_not_finite_do_not_enter_the_queue():
    loss, batch = make(), batch_of(0)
    batch.keys[2, 3] = math.nan
    with pytest.raises(FloatingPointError, match='PaCoLoss: its keys are not finite'):
        loss.contrast(batch)
    assert len(loss.queue.keys().features) == 0


def test_a_norm_in_the_mlp_and_in_its_average():
    loss = make(norm=dict(type='BN1d'))
    batch = batch_of(0)
    value = loss.contrast(batch)['loss_paco']
    # The average is the MLP itself at first; keys are normalised among themselves.
    fresh = copy.deepcopy(make(norm=dict(type='BN1d')).query_mlp)
    nothing = batch.keys.new_zeros(0, 5), LABELS[:0]
    assert value.item() == pytest.approx(expected(loss, batch, *nothing, fresh).item())
    value.backward()
    assert all(parameter.grad is not None for parameter in loss.query_mlp.parameters())
