"""What passes between the host and a GPU, and that it does so without waiting."""

import pytest
import torch
from host_syncs import HostSyncs
from hypothesis import given
from hypothesis import strategies as st

from lt_mm.functional import read_numbers, to_device, true_places


def test_numbers_of_any_kind_are_read_at_once():
    numbers = (
        torch.tensor(7),
        torch.tensor([True, False]),
        torch.tensor(0.25, requires_grad=True),
        torch.zeros(0),
        torch.tensor([[2**53, -1]]),
        torch.tensor([0.1], dtype=torch.float64),
    )
    with HostSyncs() as found:
        values = read_numbers(*numbers)
    assert values == [[7], [1, 0], [0.25], [], [2**53, -1], [0.1]]
    assert [type(part[0]) for part in values if part] == [int, int, float, int, float]
    assert len(found.waits) == 1


@given(st.lists(st.booleans(), max_size=20))
def test_true_places_are_those_of_nonzero(values):
    mask = torch.tensor(values, dtype=torch.bool)
    with HostSyncs() as found:
        places = true_places(mask, sum(values))
    assert torch.equal(places, mask.nonzero()[:, 0])
    assert not found.waits and not found.copies


def test_what_is_moved_does_not_block():
    given = torch.arange(3)
    with HostSyncs() as found:
        moved = to_device(given, torch.device('cpu'))
        assert not found.copies
        to_device(torch.randperm(3), given.device)
    assert not found.waits and len(found.copies) == 1
    assert moved.tolist() == [0, 1, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_what_is_moved_to_a_gpu():
    assert to_device(torch.arange(3), torch.device('cuda')).tolist() == [0, 1, 2]
