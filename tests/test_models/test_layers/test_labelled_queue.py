"""A ring of labelled features that class counts do not touch."""

import pytest
import torch

from lt_mm.models.layers import LabelledQueue
from lt_mm.structures import ClassCounts


def rows(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None].expand(-1, 3)


def contents(queue):
    keys = queue.keys()
    return sorted(zip(keys.features[:, 0].tolist(), keys.ids.tolist(), strict=True))


def test_holds_what_was_written_and_then_the_latest():
    queue = LabelledQueue(dim=3, size=4)
    assert queue.keys().features.shape == (0, 3)
    queue.enqueue(rows(1, 2, 3), torch.tensor([7, 0, 7]))
    assert contents(queue) == [(1, 7), (2, 0), (3, 7)]
    queue.enqueue(rows(4, 5), torch.tensor([2, 9]))
    assert contents(queue) == [(2, 0), (3, 7), (4, 2), (5, 9)]
    queue.enqueue(rows(6, 7, 8, 9, 10), torch.arange(5))
    assert contents(queue) == [(7, 1), (8, 2), (9, 3), (10, 4)]
    queue.enqueue(rows()[:, :0].reshape(0, 3), torch.zeros(0, dtype=torch.int64))
    assert contents(queue) == [(7, 1), (8, 2), (9, 3), (10, 4)]


def test_class_counts_leave_it_alone():
    queue = LabelledQueue(dim=3, size=4)
    queue.enqueue(rows(1, 2), torch.tensor([7, 0]))
    queue.set_class_counts(ClassCounts([5, 3, 1]))
    assert contents(queue) == [(1, 7), (2, 0)] and queue.lengths.tolist() == [4]


def test_state_dict_round_trip_goes_on_where_it_was():
    queue, other = LabelledQueue(dim=3, size=4), LabelledQueue(dim=3, size=4)
    queue.enqueue(rows(1, 2, 3), torch.tensor([7, 0, 7]))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.enqueue(rows(4, 5), torch.tensor([2, 9]))
    assert contents(other) == contents(queue) == [(2, 0), (3, 7), (4, 2), (5, 9)]


def test_needs_a_slot():
    with pytest.raises(ValueError, match='size=0 is too small'):
        LabelledQueue(dim=3, size=0)
