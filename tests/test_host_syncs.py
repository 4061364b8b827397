"""What the counter of host syncs counts, operation by operation."""

from pathlib import Path

import pytest
import torch
from host_syncs import HostSyncs

ROWS = torch.arange(12.0).reshape(6, 2)
LABELS = torch.tensor([0, 2, 2, 1, 0, 2])
MASK = LABELS > 0
DEVICE = ROWS.device


def put(mask, value):
    rows = torch.zeros(6, device=DEVICE)
    rows[mask] = value


# What waits, and how often.
WAITS = {
    'item': (lambda: ROWS.sum().item(), 1),
    'bool': (lambda: bool(MASK.any()), 1),
    'if': (lambda: 1 if MASK.all() else 0, 1),
    'int': (lambda: int(LABELS[0]), 1),
    'float': (lambda: float(ROWS.max()), 1),
    'loop': (lambda: [int(label) for label in LABELS], 6),
    'tolist': (lambda: LABELS.tolist(), 1),
    'numpy': (lambda: LABELS.numpy(), 1),
    'cpu': (lambda: LABELS.cpu(), 1),
    'to the host': (lambda: LABELS.to('cpu'), 1),
    'nonzero': (lambda: MASK.nonzero(), 1),
    'where': (lambda: torch.where(MASK), 1),
    'masked_select': (lambda: LABELS.masked_select(MASK), 1),
    'mask': (lambda: ROWS[MASK], 1),
    'mask of columns': (lambda: ROWS.T[:, MASK], 1),
    'mask to write to': (lambda: put(MASK, LABELS[:4].float()), 1),
    'unique': (lambda: LABELS.unique(), 1),
    'inverse of unique': (lambda: torch.unique(LABELS, return_inverse=True), 1),
    'bincount': (lambda: torch.bincount(LABELS), 2),
    'equal': (lambda: torch.equal(LABELS, LABELS), 1),
    'allclose': (lambda: torch.allclose(ROWS, ROWS), 1),
    'repeat_interleave': (lambda: torch.repeat_interleave(LABELS), 1),
    'segment_reduce': (
        lambda: torch.segment_reduce(ROWS, 'max', lengths=torch.tensor([2, 4], device=DEVICE)),
        3,
    ),
    'tensor': (lambda: torch.tensor([1.0, 2.0], device=DEVICE), 1),
    'as_tensor': (lambda: torch.as_tensor(3, device=DEVICE), 1),
    'new_tensor': (lambda: ROWS.new_tensor([1, 2]), 1),
    'copy from the host': (lambda: torch.randperm(6).to(DEVICE), 1),
    'copy as another tensor': (lambda: torch.randperm(6).to(ROWS), 1),
    'copy into': (lambda: torch.zeros_like(LABELS).copy_(torch.randperm(6)), 1),
    'index of the host': (lambda: ROWS[torch.randperm(6)], 1),
    'index by a list': (lambda: ROWS[[0, 1]], 1),
    'what came from the host, read': (lambda: torch.randperm(6).to(DEVICE).sum().item(), 2),
}
# What does not.
NONE = {
    'computation': lambda: (ROWS @ ROWS.T).exp().sum(0),
    'slices': lambda: ROWS[1:3, None, ..., 0],
    'rows by number': lambda: ROWS[LABELS],
    'one value where a mask is': lambda: put(MASK, 3.0),
    'masked_fill': lambda: ROWS.masked_fill(MASK[:, None], 0),
    'chosen by a mask': lambda: torch.where(MASK, LABELS, 0),
    'repeat_interleave of known size': lambda: torch.repeat_interleave(LABELS, output_size=7),
    'filled': lambda: torch.full((), 3.0, device=DEVICE) + torch.zeros(2, device=DEVICE),
    'of the host alone': lambda: int(torch.tensor([1, 2]).sum()) + len(torch.randperm(3).tolist()),
    'back on the host': lambda: torch.arange(3).to(torch.int32).sum().item(),
    'one number of the host': lambda: ROWS * torch.tensor(2.0),
    'sizes': lambda: len(ROWS) + ROWS.numel() + LABELS.shape[0],
}


@pytest.mark.parametrize('what', WAITS)
def test_what_waits(what):
    call, times = WAITS[what]
    with HostSyncs() as found:
        call()
    assert len(found.waits) == times, found.report()
    assert not found.own


@pytest.mark.parametrize('what', NONE)
def test_what_does_not_wait(what):
    with HostSyncs() as found:
        NONE[what]()
    assert not found.waits, found.report()


def test_nothing_is_counted_outside():
    with HostSyncs() as found:
        pass
    LABELS.tolist()
    assert not found.waits


def test_copies_that_do_not_block_are_counted_apart():
    with HostSyncs() as found:
        moved = torch.randperm(6).to(DEVICE, non_blocking=True)
        moved.tolist()
    assert [wait.operation for wait in found.waits] == ['tolist'] and len(found.copies) == 1


def test_tensors_of_host_and_gpu_do_not_go_together():
    with HostSyncs(), pytest.raises(RuntimeError, match='on the host and on the GPU'):
        torch.cat([LABELS, torch.arange(3)])


class Reading(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows):
        return rows.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * grad.sum().item()


@pytest.mark.parametrize('start', [torch.Tensor.backward, torch.autograd.backward])
def test_backward_passes_are_seen(start):
    rows = ROWS.clone().requires_grad_()
    with HostSyncs() as found:
        # The gradient of a mask is written by that mask.
        start(Reading.apply(rows)[MASK].sum())
    assert len(found.waits) == 3, found.report()


def test_places_are_named():
    with HostSyncs() as found:
        torch.nn.functional.relu(ROWS).sum().item()
    (wait,) = found.waits
    folder = Path(__file__).resolve().parents[1].name
    assert wait.place.startswith(f'{folder}/tests/test_host_syncs.py:')
    assert wait.place.endswith(' test_places_are_named')
    assert '1 _local_scalar_dense at ' in found.report()


def test_those_of_the_package_are_told_apart():
    from lt_mm.functional import check_labels

    with HostSyncs() as found:
        check_labels(LABELS, 3, 'a head')
        LABELS.tolist()
    assert len(found.waits) == 2
    assert [wait.place.split(':')[0] for wait in found.own] == ['lt_mm/functional/host.py']
