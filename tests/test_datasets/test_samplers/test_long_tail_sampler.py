"""Epochs, streams, ranks, resuming and deferral, which all samplers share."""

from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset

from lt_mm.datasets.samplers import (
    ClassAwareSampler,
    ClassBalancedSampler,
    ProgressivelyBalancedSampler,
    RepeatFactorSampler,
)

MAKERS = dict(
    class_balanced=ClassBalancedSampler,
    progressive=lambda dataset, **k: ProgressivelyBalancedSampler(dataset, 3, **k),
    class_aware=lambda dataset, **k: ClassAwareSampler(dataset, 2, **k),
    repeat_factor=lambda dataset, **k: RepeatFactorSampler(dataset, 0.5, **k),
)
each_sampler = pytest.mark.parametrize('make', MAKERS.values(), ids=MAKERS)


@each_sampler
def test_epochs_repeat_themselves_and_differ(make, labels):
    dataset = labels(9, 3, 1)
    sampler = make(dataset, seed=5)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    resumed = make(dataset, seed=5)
    resumed.set_epoch(1)
    assert list(resumed) == second
    # seed + epoch, as elsewhere, would make these equal.
    assert list(make(dataset, seed=6)) != second


@each_sampler
@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_share_an_epoch(make, round_up, labels, on_ranks):
    dataset = labels(9, 3, 1)
    alone = list(make(dataset, seed=5))
    samplers = on_ranks(3, lambda: make(dataset, seed=5, round_up=round_up))
    shares = [list(sampler) for sampler in samplers]
    assert [len(share) for share in shares] == [len(sampler) for sampler in samplers]
    if round_up:
        assert len({len(share) for share in shares}) == 1
        alone = (alone * 2)[: 3 * len(shares[0])]
    joint = [None] * len(alone)
    for rank, share in enumerate(shares):
        joint[rank::3] = share
    assert joint == alone


@each_sampler
def test_ranks_share_a_stream_of_passes(make, labels, on_ranks):
    dataset = labels(9, 3, 1)
    epochs = make(dataset, seed=5)
    expected = []
    for epoch in range(4):
        epochs.set_epoch(epoch)
        expected += list(epochs)
    samplers = on_ranks(3, lambda: make(dataset, seed=5, infinite=True))
    for rank, sampler in enumerate(samplers):
        own = expected[rank::3]
        assert list(islice(sampler, 7)) + list(islice(sampler, len(own) - 7)) == own


@each_sampler
@pytest.mark.parametrize('skipped', [0, 1, 6, 100])
def test_skip_is_absolute(make, skipped, labels, on_ranks):
    dataset = labels(9, 3, 1)
    for world_size in (1, 2):
        straight, resumed = (
            on_ranks(world_size, lambda: make(dataset, seed=5, infinite=True))[-1] for _ in range(2)
        )
        expected = list(islice(straight, skipped + 20))[skipped:]
        list(islice(resumed, 3))
        resumed.skip(skipped)
        assert list(islice(resumed, 20)) == expected


def test_only_infinite_samplers_have_skip(labels):
    dataset = labels(3, 1)
    assert not hasattr(ClassBalancedSampler(dataset), 'skip')
    with pytest.raises(ValueError, match='-1 samples cannot be skipped'):
        ClassBalancedSampler(dataset, infinite=True).skip(-1)


@each_sampler
def test_an_epoch_goes_on_where_it_was_once(make, labels, on_ranks):
    dataset = labels(9, 3, 1)
    for sampler in on_ranks(2, lambda: make(dataset, seed=5)):
        whole = list(sampler)
        sampler.start_at(4)
        assert list(sampler) == whole[4:]
        assert list(sampler) == whole


def test_the_seed_may_come_after_the_first_iterator(labels):
    """RandomStateHook sets it before the first batch of a resumed run."""
    dataset = labels(9, 3, 1)
    late = ClassBalancedSampler(dataset, infinite=True, seed=1)
    stream = iter(late)
    late.seed = 2
    expected = islice(ClassBalancedSampler(dataset, infinite=True, seed=2), 30)
    assert list(islice(stream, 30)) == list(expected)


def test_without_a_seed_two_samplers_differ(labels):
    dataset = labels(50, 50)
    assert list(ClassBalancedSampler(dataset)) != list(ClassBalancedSampler(dataset))


@pytest.mark.parametrize('size', [4, 40])
def test_size_of_an_epoch(size, labels):
    sampler = ClassBalancedSampler(labels(9, 3, 1), size=size)
    assert len(list(sampler)) == len(sampler) == size


def test_deferral_by_epoch(labels):
    dataset = labels(9, 3, 1)
    sampler = ClassBalancedSampler(dataset, deferred=True, seed=0)
    sampler.defer_until(2)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        assert sorted(sampler) == list(range(13))
        assert sampler.class_distribution is None
    plain = ClassBalancedSampler(dataset, seed=0)
    for epoch in (2, 3):
        sampler.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert list(sampler) == list(plain)
    np.testing.assert_allclose(sampler.class_distribution, np.full(3, 1 / 3))


@pytest.mark.parametrize('world_size', [1, 2])
def test_deferral_at_a_place_of_the_stream(world_size, labels, on_ranks):
    dataset = labels(9, 3, 1)

    def make():
        sampler = ClassBalancedSampler(dataset, deferred=True, seed=0, infinite=True)
        sampler.defer_until(20)
        return sampler

    drawn = [list(islice(sampler, 30)) for sampler in on_ranks(world_size, make)]
    before = np.stack([own[:20] for own in drawn], axis=1).ravel()
    for start in range(0, 20 * world_size - 12, 13):
        assert sorted(before[start : start + 13]) == list(range(13))
    after = np.stack([own[20:] for own in drawn], axis=1).ravel()
    expected = ClassBalancedSampler(dataset, seed=0, infinite=True)
    if world_size == 1:
        assert after.tolist() == list(islice(expected, 10))
    for sampler, own in zip(on_ranks(world_size, make), drawn, strict=True):
        assert sampler.class_distribution_at(19) is None
        np.testing.assert_allclose(sampler.class_distribution_at(20), np.full(3, 1 / 3))
        sampler.skip(17)
        assert list(islice(sampler, 13)) == own[17:]


def test_deferral_of_larger_passes(labels):
    """Epochs have one length, or mmengine's schedules would be wrong."""
    sampler = RepeatFactorSampler(labels(9, 3, 1), 0.5, deferred=True, seed=0)
    sampler.defer_until(1)
    plain = list(sampler)
    assert len(plain) == len(sampler) > 13
    assert sorted(plain[:13]) == list(range(13))
    sampler.set_epoch(1)
    assert len(list(sampler)) == len(sampler)


def test_a_deferred_sampler_that_is_told_nothing_names_the_hook(labels):
    for infinite in (False, True):
        sampler = ClassBalancedSampler(labels(3, 1), deferred=True, infinite=infinite)
        with pytest.raises(RuntimeError, match='was not told where to begin.*DeferredHook'):
            next(iter(sampler))


def test_a_sampler_that_is_not_deferred_heeds_no_hook(labels):
    sampler = ClassBalancedSampler(labels(9, 3, 1), seed=0)
    before = list(sampler)
    sampler.defer_until(5)
    assert list(sampler) == before


class Turning(ClassBalancedSampler):
    """Draws one image more often from pass to pass, up to the fourth."""

    last_change = 3

    def expected_draws(self, number):
        draws = np.ones(len(self.dataset))
        draws[0] += min(number, 3)
        return draws / draws.sum()


CHANGING = dict(
    never=ClassBalancedSampler,
    progressive=lambda dataset, **k: ProgressivelyBalancedSampler(dataset, 3, **k),
    deferred=lambda dataset, **k: ClassBalancedSampler(dataset, deferred=True, **k),
    deferred_and_turning=lambda dataset, **k: Turning(dataset, deferred=True, **k),
)


@pytest.mark.parametrize('name', CHANGING)
@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('size', [1, 5, 13])
@pytest.mark.parametrize('infinite', [True, False])
def test_the_sampler_tells_every_change_of_its_prior(
    name, world_size, size, infinite, labels, on_ranks
):
    """Place by place, against what it says of itself."""
    dataset = labels(9, 3, 1)

    def make():
        sampler = CHANGING[name](dataset, seed=0, size=size, infinite=infinite)
        sampler.defer_until(7)
        return sampler

    for sampler in on_ranks(world_size, make):
        priors = [sampler.class_distribution_at(place) for place in range(100)]
        differ = [not np.array_equal(*pair) for pair in zip(priors, priors[1:], strict=False)]
        changes = [place for place, changed in enumerate(differ, 1) if changed]
        # Epochs are counted from the start of the training, so that the seventh has turned.
        turns = 4 if infinite else 1
        number = dict(never=0, progressive=3, deferred=1, deferred_and_turning=turns)[name]
        if size >= world_size or not infinite:
            assert len(changes) == number
        for place in range(99):
            later = [change for change in changes if change > place]
            assert sampler.next_change(place) == (later[0] if later else None)


def test_the_change_is_asked_again_until_a_deferred_sampler_knows_where(labels):
    sampler = ClassBalancedSampler(labels(3, 1), deferred=True, infinite=True)
    assert sampler.class_distribution_at(4) is None
    assert sampler.next_change(4) == 4
    sampler.defer_until(8)
    assert sampler.next_change(4) == 8
    assert sampler.next_change(8) is None


@each_sampler
def test_a_class_without_images(make, labels):
    dataset = labels(labels=[0] * 6 + [2, 2])
    sampler = make(dataset, seed=0)
    assert set(sampler) <= set(range(8))
    prior = sampler.class_distribution
    assert prior[1] == 0 and prior.sum() == pytest.approx(1)


@each_sampler
def test_one_class_and_one_image(make, labels):
    sampler = make(labels(1), seed=0)
    assert list(sampler) == [0]
    assert sampler.class_distribution.tolist() == [1.0]


@pytest.mark.parametrize('make', [ClassBalancedSampler, ClassAwareSampler])
def test_images_without_labels_are_not_drawn(make, labels):
    dataset = labels(labels=[[0, 1], [], [2], [], [0]])
    sampler = make(dataset, seed=0, size=100)
    assert set(sampler) == {0, 2, 4}


def test_images_without_labels_are_drawn_where_all_are(labels):
    dataset = labels(labels=[[0, 1], [], [2], [], [0]])
    for sampler in (
        ProgressivelyBalancedSampler(dataset, 10, seed=0, size=200),
        RepeatFactorSampler(dataset, 0.5, seed=0),
    ):
        assert set(sampler) == {0, 1, 2, 3, 4}


def test_wrapped_data_sets(labels):
    """What a wrapper repeats is in the data set more often."""
    for dataset, counts in (
        (ConcatDataset([labels(4, 1), labels(2, 2)]), [6, 3]),
        (RepeatDataset(labels(2, 1), 2), [4, 2]),
    ):
        sampler = ClassBalancedSampler(dataset, q=1, seed=0)
        np.testing.assert_allclose(sampler.class_distribution, np.divide(counts, sum(counts)))
        assert max(sampler) < len(dataset)
    # 8 of 9 images are of class 0; sqrt(1 / (1/9)) = 3 repetitions of the other.
    repeated = ClassBalancedDataset(labels(8, 1), 1.0)
    np.testing.assert_allclose(
        ClassBalancedSampler(repeated, q=1).class_distribution,
        np.bincount([repeated.get_data_info(i)['gt_label'] for i in range(len(repeated))])
        / len(repeated),
    )


def test_bad_arguments(labels):
    dataset = labels(3, 1)
    for kwargs, text in (
        (dict(shuffle=False), 'shuffle=False, but it draws at random'),
        (dict(size=0), 'size of ClassBalancedSampler is 0'),
        (dict(q=float('nan')), 'q of ClassBalancedSampler is nan'),
    ):
        with pytest.raises(ValueError, match=text):
            ClassBalancedSampler(dataset, **kwargs)
    with pytest.raises(ValueError, match='samples_per_class of ClassAwareSampler is 0'):
        ClassAwareSampler(dataset, 0)
    with pytest.raises(ValueError, match='epochs of ProgressivelyBalancedSampler is 0'):
        ProgressivelyBalancedSampler(dataset, 0)
    with pytest.raises(ValueError, match='has its own schedule'):
        ProgressivelyBalancedSampler(dataset, 5, deferred=True)
    with pytest.raises(ValueError, match='has no sample to count'):
        ClassBalancedSampler(labels(labels=[]))
    with pytest.raises(ValueError, match='no sample of Labels shows a class'):
        ClassBalancedSampler(labels(labels=[[], []]))
    with pytest.raises(TypeError, match='classes of range cannot be counted'):
        ClassBalancedSampler(range(4))
