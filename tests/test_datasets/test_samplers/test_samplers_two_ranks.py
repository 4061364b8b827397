"""Two processes: rank 0 reads the maps, both draw from one stream."""

from itertools import islice

import pytest

from lt_mm.datasets import class_counting
from lt_mm.datasets.samplers import ClassBalancedSampler, RareClassSampler, RepeatFactorSampler

MAKERS = (
    lambda dataset, **kwargs: RareClassSampler(dataset, min_pixels=3, **kwargs),
    lambda dataset, **kwargs: RepeatFactorSampler(dataset, 0.6, **kwargs),
    ClassBalancedSampler,
)


def draw(dataset, cache_dir, seed=None):
    """Seed, prior, two epochs and a part of the stream of each sampler."""
    found = []
    for make in MAKERS:
        by_epoch = make(dataset, cache_dir=cache_dir, seed=seed)
        epochs = []
        for epoch in range(2):
            by_epoch.set_epoch(epoch)
            epochs += [list(by_epoch)]
        stream = make(dataset, cache_dir=cache_dir, seed=by_epoch.seed, infinite=True)
        stream.skip(5)
        prior = by_epoch.class_distribution.tolist()
        found.append([int(by_epoch.seed), prior, *epochs, list(islice(stream, 20))])
    return found


def refuse(*args):
    raise AssertionError('a rank but the first reads maps')


def draw_on(rank, folder, dataset):
    if rank == 1:
        class_counting.count_maps = refuse
    return draw(dataset, f'{folder}/cache')


def test_two_ranks_share_what_one_process_draws(two_ranks, maps, tmp_path):
    ranks = two_ranks(draw_on, tmp_path, maps)
    for i, (first, second) in enumerate(zip(*ranks, strict=True)):
        assert first[0] == second[0]
        seed, prior, *alone = draw(maps, tmp_path / 'cache', first[0])[i]
        assert first[1] == pytest.approx(prior) and second[1] == pytest.approx(prior)
        for epoch in range(2):
            own, other = first[2 + epoch], second[2 + epoch]
            joint = [index for pair in zip(own, other, strict=True) for index in pair]
            assert joint[: len(alone[epoch])] == alone[epoch]
        stream = MAKERS[i](maps, cache_dir=tmp_path / 'cache', seed=seed, infinite=True)
        joint = [index for pair in zip(first[4], second[4], strict=True) for index in pair]
        assert list(islice(stream, 50))[10:] == joint
