"""EmbeddingBank: first embeddings, exact momentum, similarities of before an update."""

import math

import pytest
import torch

from lt_mm.models.layers import EmbeddingBank


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_starts_with_unit_vectors_that_a_first_embedding_replaces():
    torch.manual_seed(0)
    bank = EmbeddingBank(5, 3, 0.5)
    before = bank.rows.clone()
    torch.testing.assert_close(before.norm(dim=1), torch.ones(5))
    first, second = unit(2, 3), unit(2, 3)
    bank.introduce(torch.tensor([1, 4]), first)
    bank.introduce(torch.tensor([4, 0]), second)
    assert torch.equal(bank.rows, torch.stack([second[1], first[0], *before[2:4], first[1]]))
    assert bank.is_written.tolist() == [True, True, False, False, True]


@pytest.mark.parametrize('momentum', [0.0, 0.5, 0.9])
def test_update_is_a_normalised_moving_average(momentum):
    torch.manual_seed(0)
    bank = EmbeddingBank(4, 3, momentum).double()
    before, new = bank.rows.clone(), unit(2, 3).double()
    bank.update(torch.tensor([2, 0]), new)
    for row, value in ((2, new[0]), (0, new[1])):
        pairs = zip(before[row].tolist(), value.tolist(), strict=True)
        mixed = [momentum * old + (1 - momentum) * own for old, own in pairs]
        norm = math.sqrt(sum(part * part for part in mixed))
        expected = [part / norm for part in mixed]
        torch.testing.assert_close(bank.rows[row].tolist(), expected, rtol=1e-12, atol=1e-15)
    assert torch.equal(bank.rows[[1, 3]], before[[1, 3]])


def test_gradient_of_similarities_is_that_of_the_vectors_before_an_update():
    torch.manual_seed(0)
    bank = EmbeddingBank(4, 3, 0.5)
    before = bank.rows.clone()
    rows = unit(2, 3).requires_grad_()
    indices = torch.tensor([[0, 1, 1], [3, 2, 0]])
    similarities = bank.similarities(rows, indices)
    torch.testing.assert_close(similarities[1, 0], rows[1] @ before[3])
    bank.update(torch.arange(4), unit(4, 3))
    similarities.sum().backward()
    torch.testing.assert_close(rows.grad, before[indices].sum(1))


def test_similarities_are_float32_under_autocast():
    torch.manual_seed(0)
    bank = EmbeddingBank(4, 3, 0.5)
    rows, indices = unit(2, 3), torch.tensor([[0, 1], [3, 2]])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        similarities = bank.similarities(rows, indices)
    assert torch.equal(similarities, bank.similarities(rows, indices))


@pytest.mark.parametrize(
    ('samples', 'momentum', 'told'), [(0, 0.5, 'num_samples'), (4, 1.0, '1.0')]
)
def test_bad_arguments(samples, momentum, told):
    with pytest.raises(ValueError, match=told):
        EmbeddingBank(samples, 3, momentum)
