"""What a worker draws for a batch does not depend on when it started."""

import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lt_mm.engine.worker_seeding import WorkerSeeding


class Draws(Dataset):
    """Each sample is three random numbers."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return [random.random(), np.random.rand(), torch.rand(()).item()]


def loader(seed=0, first=(0, 1), persistent=False):
    result = DataLoader(
        Draws(), batch_size=2, num_workers=len(first), persistent_workers=persistent,
        collate_fn=list, worker_init_fn=lambda worker: random.seed(worker),
    )  # fmt: skip
    WorkerSeeding(result, seed, first)
    return result


def test_a_batch_is_the_same_from_workers_that_started_later():
    batches = list(loader())
    assert list(loader()) == batches
    later = list(loader(first=(3, 4)))
    assert later[:3] == batches[3:]
    numbers = [number for batch in batches + later[3:] for row in batch for number in row]
    assert len(set(numbers)) == len(numbers)


def test_seed_and_rank_make_other_numbers(monkeypatch):
    batches = list(loader())
    assert list(loader(seed=1)) != batches
    monkeypatch.setattr('lt_mm.engine.worker_seeding.get_rank', lambda: 1)
    assert list(loader()) != batches


def test_workers_that_stay_go_on_counting():
    epochs = loader(persistent=True)
    first, second = list(epochs), list(epochs)
    assert second == list(loader(first=(6, 7)))
    assert first != second


def test_what_the_loader_had_is_still_called_and_not_wrapped_twice():
    called = []
    data = DataLoader(Draws(), collate_fn=len, worker_init_fn=called.append)
    WorkerSeeding(data, 0, [0])
    seeding = WorkerSeeding(data, 0, [5])
    with torch.random.fork_rng():
        data.worker_init_fn(0)
    assert (called, seeding.batch, seeding.collate) == ([0], 5, len)
