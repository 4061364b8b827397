"""Batches of a development set beside those of a training, on random numbers of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from lt_mm.datasets.class_counting import count_samples
from lt_mm.datasets.held_out import PARTS
from lt_mm.engine.random_states import random_states, set_random_states
from lt_mm.engine.train_sampler import samples_of
from lt_mm.engine.worker_seeding import WorkerSeeding

SOURCES = ('drawn', 'held_out')


class DevelopmentSet:
    """An endless stream of batches in which classes are alike; ranks share each draw.

    Args:
        runner: of the training.
        source: 'drawn' takes images of the training set itself, none is lost to it; 'held_out' the
            other part of an ``lt_mm.PartOfDataset`` that is trained on; or the config of a data
            set of its own.
        batch_size: images of a rank.
        sampler: config of an infinite sampler of lt_mm.
        num_workers: processes that read ahead; 0 reads in this one.
        owner: what errors call who asks.

    Raises:
        ValueError: if ``source`` is none of these, nothing was held out, or the set lacks a class
            of the training set or has other ones.

    Attributes:
        held_out_by: how the set was cut from the training set; None if it was not.
    """

    def __init__(
        self,
        runner: Runner,
        source: str | Mapping,
        batch_size: int,
        sampler: Mapping,
        num_workers: int,
        owner: str,
    ) -> None:
        training = runner.train_dataloader.dataset
        dataset: Any = training
        if isinstance(source, Mapping):
            dataset = deepcopy(dict(source))
        elif source == 'held_out':
            dataset = _other_part(runner.cfg.train_dataloader.get('dataset'), owner)
        elif source != 'drawn':
            raise ValueError(
                f'source of {owner} is {source!r}; use {" or ".join(map(repr, SOURCES))}, or the '
                'config of a data set, dict(type=...).'
            )
        counts = str(Path(runner.work_dir).parent / 'class_counts')
        seed = runner.seed
        self.loader = Runner.build_dataloader(
            dict(
                batch_size=batch_size,
                num_workers=num_workers,
                dataset=dataset,
                sampler={'cache_dir': counts, 'seed': seed, **sampler, 'infinite': True},
                drop_last=False,
                collate_fn=runner.cfg.train_dataloader.get('collate_fn', _PSEUDO),
            ),
            seed=seed,
        )
        # From where it draws the base of its workers' seeds.
        self.loader.generator = torch.Generator()
        self.seed = seed
        self.held_out_by = getattr(self.loader.dataset, 'held_out_by', None)
        self._numbers = count()
        self._batches: Iterator = iter(())
        if self.loader.dataset is not training:
            _check_classes(training, self.loader, counts, owner)

    def start(self, number: int) -> None:
        """Go to a batch.

        Args:
            number: of the batch, from 0.
        """
        self.loader.sampler.skip(samples_of(self.loader, number))
        workers = self.loader.num_workers
        if workers:
            WorkerSeeding(self.loader, self.seed, [number + worker for worker in range(workers)])
        self._numbers, self._batches = count(number), iter(self.loader)

    @contextmanager
    def next_batch(self) -> Iterator[Any]:
        """The next batch; random numbers drawn inside depend on its number and the rank alone."""
        before = random_states()
        try:
            number = next(self._numbers)
            mixed = np.random.SeedSequence((self.seed, get_rank(), number)).generate_state(1)
            worker_init_fn(worker_id=0, num_workers=0, rank=0, seed=int(mixed[0]))
            yield next(self._batches)
        finally:
            set_random_states(before)


_PSEUDO = dict(type='pseudo_collate')


def _other_part(config: Any, owner: str) -> dict:
    """Config of what was held out of the training set."""
    for inner in _configs(config):
        if str(inner.get('type')).endswith('PartOfDataset') and inner.get('part') == PARTS[0]:
            return {**deepcopy(dict(inner)), 'part': PARTS[1]}
    raise ValueError(
        f"source of {owner} is 'held_out', but nothing is held out of the training set; wrap it, "
        "train_dataloader.dataset=dict(type='lt_mm.PartOfDataset', part='training', per_class=10, "
        "dataset=dict(...)), or use source='drawn'."
    )


def _configs(config: Any) -> Iterator[Mapping]:
    """A config of a data set and those inside it."""
    if isinstance(config, Mapping):
        yield config
        for key in ('dataset', 'datasets'):
            yield from _configs(config.get(key))
    elif isinstance(config, list | tuple):
        for inner in config:
            yield from _configs(inner)


def _check_classes(training: Any, loader: DataLoader, cache_dir: str, owner: str) -> None:
    own, other = (
        getattr(dataset, 'metainfo', {}).get('classes') for dataset in (training, loader.dataset)
    )
    if own is not None and other is not None and tuple(own) != tuple(other):
        odd = [name for name in other if name not in own] or [
            name for name in own if name not in other
        ]
        raise ValueError(
            f'the development set of {owner} has other classes than the training set, '
            f'{len(other)} in place of {len(own)}, among them {", ".join(map(repr, odd[:3]))}; '
            'give one of the same classes in the same order.'
        )
    has = np.asarray(loader.sampler.counts.sum(axis=0)).ravel() > 0
    trained = np.asarray(count_samples(training, cache_dir).table.sum(axis=0)) > 0
    missing = np.flatnonzero(trained.ravel() & ~has)
    if missing.size:
        names = [str(c) if own is None else repr(own[c]) for c in missing[:5]]
        raise ValueError(
            f'the development set of {owner} has no sample of {missing.size} classes that are '
            f'trained, among them {", ".join(names)}, whose weights it would only lower; add some, '
            "or use source='drawn'."
        )
