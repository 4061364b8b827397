"""Rows of two ranks, equally many or not, and the gradients that come back."""

import pytest
import torch

from lt_mm.models.ranks import gather_rows

SIZES = {'even': (2, 2), 'uneven': (1, 3), 'one_empty': (0, 2), 'both_empty': (0, 0)}


def local(case, rank):
    size = SIZES[case][rank]
    rows = torch.arange(3.0 * size).reshape(size, 3) + 100 * rank
    return rows, torch.arange(size) + 10 * rank


def gather_and_derive(rank):
    results = {}
    for case in SIZES:
        rows, labels = local(case, rank)
        rows.requires_grad_()
        gathered = gather_rows(rows, labels)
        # Another weight for each row and rank, so that a sum over ranks cannot be mistaken.
        weights = torch.arange(1.0, 1 + len(gathered.rows))[:, None] * 10**rank
        (gathered.rows**2 * weights).sum().backward()
        results[case] = (*(tensor.detach() for tensor in gathered), rows.grad)
    return results


@pytest.fixture(scope='module')
def ranks(two_ranks):
    return two_ranks(gather_and_derive)


@pytest.mark.parametrize('case', SIZES)
def test_all_rows_in_rank_order_and_where_the_own_ones_are(ranks, case):
    rows, labels = (torch.cat(parts) for parts in zip(local(case, 0), local(case, 1), strict=True))
    for rank, results in enumerate(ranks):
        all_rows, all_labels, own, _ = results[case]
        assert torch.equal(all_rows, rows) and torch.equal(all_labels, labels)
        assert torch.equal(all_rows[own], local(case, rank)[0])


@pytest.mark.parametrize('case', SIZES)
def test_gradient_is_the_sum_over_ranks(ranks, case):
    rows = torch.cat([local(case, rank)[0] for rank in range(2)])
    weights = torch.arange(1.0, 1 + len(rows))[:, None]
    expected = 2 * rows * weights * (1 + 10)
    assert torch.equal(torch.cat([results[case][3] for results in ranks]), expected)


def test_one_process_keeps_its_rows_and_their_graph():
    rows = torch.ones(3, 2, requires_grad=True)
    gathered = gather_rows(rows, torch.tensor([4, 5, 6]))
    gathered.rows.sum().backward()
    assert gathered.rows is rows and gathered.own.tolist() == [0, 1, 2]
    assert gathered.labels.tolist() == [4, 5, 6] and (rows.grad == 1).all()
