"""class_log_likelihood against eq. 3 written as loops, and at the edges of what it accepts."""

import math

import pytest
import torch
from host_syncs import HostSyncs
from torch.nn import functional as F

from lt_mm.functional import class_log_likelihood
from lt_mm.functional.mixture import streaming


def naive(queries, keys, lengths, temperature, valid=None, query_ids=None, key_ids=None):
    """Eq. 3, one query, one class and one key at a time, in Python floats."""
    result = []
    for n, query in enumerate(queries.double().tolist()):
        start, row = 0, []
        for length in lengths.tolist():
            terms = []
            for k in range(start, start + length):
                if valid is not None and not valid[k]:
                    continue
                if query_ids is not None and query_ids[n] == key_ids[k]:
                    continue
                dot = sum(a * b for a, b in zip(query, keys[k].double().tolist(), strict=True))
                terms.append(dot / float(temperature))
            start += length
            if terms:
                top = max(terms)
                total = sum(math.exp(term - top) for term in terms)
                row.append(top + math.log(total / len(terms)))
            else:
                row.append(-math.inf)
        result.append(row)
    return torch.tensor(result, dtype=torch.float64)


def problem(num_queries=7, lengths=(3, 1, 5, 2), dim=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    queries = F.normalize(torch.randn(num_queries, dim, generator=generator), dim=1)
    keys = F.normalize(torch.randn(int(lengths.sum()), dim, generator=generator), dim=1)
    return queries.to(dtype), keys.to(dtype), lengths


@pytest.mark.parametrize('temperature', [1.0, 0.07, 0.003])
@pytest.mark.parametrize('chunk', [1 << 20, 16])
def test_equals_eq_3(monkeypatch, temperature, chunk):
    monkeypatch.setitem(streaming._BLOCK_ELEMENTS, 'cpu', chunk)
    queries, keys, lengths = problem()
    result = class_log_likelihood(queries, keys, lengths, temperature)
    torch.testing.assert_close(result, naive(queries, keys, lengths, temperature))


@pytest.mark.parametrize('temperature', [0.07, 0.003])
def test_float32_is_exact_where_one_shift_for_all_classes_would_underflow(temperature):
    queries = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    result = class_log_likelihood(queries, keys, torch.tensor([1, 1]), temperature)
    torch.testing.assert_close(result, torch.tensor([[1.0, -1.0]]) / temperature)


@pytest.mark.parametrize('temperature', [0.5, 0.01])
@pytest.mark.parametrize('chunk', [1 << 20, 24])
def test_gradients_of_queries_keys_and_temperature(monkeypatch, temperature, chunk):
    monkeypatch.setitem(streaming._BLOCK_ELEMENTS, 'cpu', chunk)
    queries, keys, lengths = problem(num_queries=4)
    temperature = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    arguments = (queries.requires_grad_(), keys.requires_grad_(), temperature)
    assert torch.autograd.gradcheck(
        lambda q, k, t: class_log_likelihood(q, k, lengths, t), arguments
    )


def test_absent_classes_and_masked_keys():
    queries, keys, lengths = problem(lengths=(3, 0, 5, 2))
    valid = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 0, 0], dtype=torch.bool)
    result = class_log_likelihood(queries, keys, lengths, 0.07, valid=valid)
    expected = naive(queries, keys, lengths, 0.07, valid=valid)
    assert expected[:, 1].isinf().all() and expected[:, 3].isinf().all()
    torch.testing.assert_close(result, expected)


def test_gradient_beside_absent_classes_is_finite_and_right():
    queries, keys, lengths = problem(lengths=(3, 0, 5, 2))
    valid = torch.ones(10, dtype=torch.bool)
    valid[8:] = False
    queries.requires_grad_()
    keys.requires_grad_()
    present = torch.tensor([0, 2])
    assert torch.autograd.gradcheck(
        lambda q, k: class_log_likelihood(q, k, lengths, 0.07, valid=valid)[:, present],
        (queries, keys),
    )
    log_likelihood = class_log_likelihood(queries, keys, lengths, 0.07, valid=valid)
    F.cross_entropy(log_likelihood, torch.zeros(7, dtype=torch.long)).backward()
    assert queries.grad.isfinite().all() and keys.grad.isfinite().all()
    assert (keys.grad[8:] == 0).all()


@pytest.mark.parametrize('temperature', [0.07, 0.003])
def test_keys_of_the_same_sample_are_left_out(temperature):
    queries, keys, lengths = problem()
    query_ids = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    key_ids = torch.tensor([0, 1, 1, 3, 9, 2, 9, 9, 2, 9, 6])
    result = class_log_likelihood(
        queries, keys, lengths, temperature, query_ids=query_ids, key_ids=key_ids
    )
    expected = naive(queries, keys, lengths, temperature, None, query_ids, key_ids)
    assert expected[3, 1].isinf()
    torch.testing.assert_close(result, expected)
    arguments = (queries[:3].requires_grad_(), keys.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda q, k: class_log_likelihood(
            q, k, lengths, temperature, query_ids=query_ids[:3], key_ids=key_ids
        ),
        arguments,
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    queries, keys, lengths = problem(num_queries=20, lengths=(400, 1, 50, 7), dtype=dtype)
    result = class_log_likelihood(queries, keys, lengths, 0.07)
    assert result.dtype == torch.float32
    torch.testing.assert_close(
        result.double(), naive(queries, keys, lengths, 0.07), rtol=1e-5, atol=1e-5
    )


def test_autocast_does_not_lower_the_precision():
    queries, keys, lengths = problem(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = class_log_likelihood(queries, keys, lengths, 0.07)
    torch.testing.assert_close(
        result, naive(queries, keys, lengths, 0.07).float(), rtol=1e-5, atol=1e-5
    )


def test_no_query_and_no_key():
    queries, keys, lengths = problem(num_queries=0)
    assert class_log_likelihood(queries, keys, lengths, 0.07).shape == (0, 4)
    queries, keys, lengths = problem(lengths=(0, 0))
    assert class_log_likelihood(queries, keys, lengths, 0.07).isneginf().all()


def test_memory_does_not_grow_with_queries_times_keys(monkeypatch):
    """The largest block of similarities stays at the chunk size for any number of queries."""
    largest = []
    similarities = streaming._similarities
    monkeypatch.setitem(streaming._BLOCK_ELEMENTS, 'cpu', 1000)

    def spy(*args, **kwargs):
        block = similarities(*args, **kwargs)
        largest.append(block.numel())
        return block

    monkeypatch.setattr(streaming, '_similarities', spy)
    queries, keys, lengths = problem(num_queries=500)
    class_log_likelihood(queries.requires_grad_(), keys, lengths, 0.07).sum().backward()
    assert max(largest) <= 1000
    assert sum(largest) == 2 * 500 * len(keys)


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.nan, math.inf])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match='temperature must be'):
        class_log_likelihood(*problem(), temperature)


def test_bad_shapes():
    queries, keys, lengths = problem()
    with pytest.raises(ValueError, match='same D'):
        class_log_likelihood(queries[:, :2], keys, lengths, 0.07)
    with pytest.raises(ValueError, match='sum to 11, but there are 10 keys'):
        class_log_likelihood(queries, keys[:10], lengths, 0.07)
    with pytest.raises(ValueError, match='together'):
        class_log_likelihood(queries, keys, lengths, 0.07, query_ids=torch.arange(7))
    with pytest.raises(ValueError, match='valid has shape'):
        class_log_likelihood(queries, keys, lengths, 0.07, valid=torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize('temperature', [0.07, 0.003])
def test_a_known_bound_of_the_exponents_changes_nothing(temperature):
    queries, keys, lengths = problem()
    known = class_log_likelihood(queries, keys, lengths, temperature, largest=1 / temperature)
    assert torch.equal(known, class_log_likelihood(queries, keys, lengths, temperature))


@pytest.mark.parametrize('largest', [None, 20.0])
def test_how_often_the_host_waits(largest):
    queries, keys, lengths = problem()
    ids = dict(query_ids=torch.arange(7), key_ids=torch.arange(11))
    with HostSyncs() as found:
        class_log_likelihood(queries, keys, torch.tensor([3, 1, 5, 2]), 0.07, largest=largest)
    assert len(found.waits) == (largest is None), found.report()
    with HostSyncs() as found:
        class_log_likelihood(queries, keys, lengths, 0.07, largest=largest, **ids)
    assert len(found.waits) == 1 + (largest is None), found.report()
