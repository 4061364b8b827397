"""The fixture that runs functions on two ranks."""

import os
import sys
import time

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import ProcessRaisedException
from two_ranks import PRELOADED, run_on_two_ranks


def total(rank, values):
    """The sum over ranks, the process, and whether it had imported what takes long."""
    value = torch.tensor(values[rank])
    dist.all_reduce(value)
    return value.item(), os.getpid(), all(name in sys.modules for name in PRELOADED)


def fail(rank, failing):
    if rank == failing:
        raise ZeroDivisionError(f'of rank {rank}')
    dist.barrier()


def hang(rank):
    if rank == 0:
        dist.barrier()
    time.sleep(60)


def test_both_ranks_return_and_are_new_each_time(two_ranks):
    calls = [two_ranks(total, [3, 4]), two_ranks(total, [5, 6])]
    assert [[value for value, *_ in call] for call in calls] == [[7, 7], [11, 11]]
    assert len({os.getpid(), *(process for call in calls for _, process, _ in call)}) == 5
    assert all(preloaded for call in calls for *_, preloaded in call)


@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_fails_ends_the_other(two_ranks, rank):
    with pytest.raises(ProcessRaisedException, match=f'ZeroDivisionError: of rank {rank}'):
        two_ranks(fail, rank)


def test_ranks_that_do_not_return_are_killed(tmp_path):
    with pytest.raises(TimeoutError, match='hang did not return within 1 s'):
        run_on_two_ranks(hang, folder=tmp_path, timeout=1)
