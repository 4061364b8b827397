"""Random numbers of data loader workers that depend on the batch alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from torch.utils.data import DataLoader, get_worker_info


class WorkerSeeding:
    """Seed the workers of a data loader anew for every batch.

    What a worker draws otherwise depends on all it drew since it started, which a resumed run
    cannot repeat. It is the collate function, because that is what a worker calls once a batch.

    Args:
        loader: its ``worker_init_fn`` and ``collate_fn`` are replaced; workers that
            run already are not reached.
        seed: seed of the run, at least 0.
        first: for each worker, the number of the first batch it will make. From
            there a worker counts in steps of the number of workers.
    """

    def __init__(self, loader: DataLoader, seed: int, first: Sequence[int]) -> None:
        self.collate: Callable[[list], Any] = loader.collate_fn
        self.initialise: Callable[[int], None] | None = loader.worker_init_fn
        if isinstance(self.collate, WorkerSeeding):
            self.collate, self.initialise = self.collate.collate, self.collate.initialise
        self.seed = seed
        self.rank = get_rank()
        self.first = list(first)
        self.batch = 0
        loader.collate_fn = self
        loader.worker_init_fn = self.start

    def start(self, worker_id: int) -> None:
        """Prepare a worker for its first batch."""
        if self.initialise is not None:
            self.initialise(worker_id)
        self.batch = self.first[worker_id]
        self._seed_batch()

    def __call__(self, samples: list) -> Any:
        """Collate a batch, and prepare the worker for its next one."""
        batch = self.collate(samples)
        self.batch += get_worker_info().num_workers
        self._seed_batch()
        return batch

    def _seed_batch(self) -> None:
        mixed = np.random.SeedSequence((self.seed, self.rank, self.batch)).generate_state(1)
        worker_init_fn(worker_id=0, num_workers=0, rank=0, seed=int(mixed[0]))
