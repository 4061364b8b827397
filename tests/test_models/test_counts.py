"""Counts survive a checkpoint and are refused when they do not fit."""

import copy

import pytest
import torch

from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.structures import ClassCounts


def test_set_says_whether_something_changed():
    buffer = ClassCountsBuffer('MyLoss')
    assert not buffer.is_set
    assert buffer.set(ClassCounts([1, 3]))
    assert not buffer.set(ClassCounts([1, 3]))
    assert buffer.set(ClassCounts([3, 1]))
    torch.testing.assert_close(buffer.require_log_prior(), torch.tensor([0.75, 0.25]).log())


def test_what_is_set_is_kept_in_place_once_the_size_is_known():
    buffer = ClassCountsBuffer('MyLoss')
    given = ClassCounts([1, 3])
    buffer.set(given)
    counts, log_prior = buffer.counts, buffer.log_prior
    buffer.set(ClassCounts([3, 1]))
    assert given.counts.tolist() == [1, 3]
    other = ClassCountsBuffer('MyLoss')
    other.set(ClassCounts([5, 5]))
    buffer.load_state_dict(other.state_dict())
    assert counts is buffer.counts and counts.tolist() == [5, 5]
    assert log_prior is buffer.log_prior and log_prior.exp().tolist() == [0.5, 0.5]


def test_a_checkpoint_brings_counts_to_a_module_without():
    source = ClassCountsBuffer('MyLoss')
    source.set(ClassCounts([1, 3]))
    target = ClassCountsBuffer('MyLoss')
    target.load_state_dict(source.state_dict())
    assert target.counts.tolist() == [1, 3]
    torch.testing.assert_close(target.require_log_prior(), source.require_log_prior())


def test_a_checkpoint_without_counts_leaves_those_that_are_set():
    target = ClassCountsBuffer('MyLoss')
    target.set(ClassCounts([1, 3]))
    target.load_state_dict({}, strict=False)
    assert target.counts.tolist() == [1, 3]


def test_missing_counts_name_the_hook():
    with pytest.raises(RuntimeError, match='MyLoss needs class counts.*ClassCountsHook'):
        ClassCountsBuffer('MyLoss').require_log_prior()


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match='2 classes but MyLoss has 3'):
        ClassCountsBuffer('MyLoss', num_classes=3).set(ClassCounts([1, 3]))


def test_the_prior_of_a_sampler_is_kept_beside_the_counts():
    buffer = ClassCountsBuffer('MyLoss')
    assert buffer.set(ClassCounts([1, 3]))
    assert buffer.set(ClassCounts([1, 3]).with_prior([1, 1]))
    assert not buffer.set(ClassCounts([1, 3]).with_prior([1, 1]))
    assert buffer.counts.tolist() == [1, 3]
    assert buffer.require_log_prior().exp().tolist() == [0.5, 0.5]
    unset, other = ClassCountsBuffer('MyLoss'), ClassCountsBuffer('MyLoss')
    other.set(ClassCounts([7, 9]))
    for target in (unset, other):
        target.load_state_dict(buffer.state_dict())
        assert target.counts.tolist() == [1, 3]
        assert target.require_log_prior().exp().tolist() == [0.5, 0.5]
    assert buffer.set(ClassCounts([1, 3]))


def test_a_checkpoint_with_counts_alone():
    """As those are that were written before samplers told their prior."""
    unset, other = ClassCountsBuffer('MyLoss'), ClassCountsBuffer('MyLoss')
    other.set(ClassCounts([5, 5]))
    for target in (unset, other):
        target.load_state_dict(dict(counts=torch.tensor([1, 3])))
        torch.testing.assert_close(target.require_log_prior(), torch.tensor([0.25, 0.75]).log())
    ClassCountsBuffer('MyLoss').load_state_dict(dict(counts=torch.zeros(0, dtype=torch.int64)))


def test_what_is_derived_is_computed_once_for_the_same_counts():
    calls = []

    def scaled(counts, factor):
        calls.append(factor)
        return counts * factor

    buffer = ClassCountsBuffer('MyLoss')
    with pytest.raises(RuntimeError, match='MyLoss needs class counts'):
        buffer.derived(scaled, 2)
    buffer.set(ClassCounts([1, 3]))
    for _ in range(2):
        assert buffer.derived(scaled, 2).tolist() == [2, 6]
        assert buffer.derived(scaled, 5).tolist() == [5, 15]
    assert calls == [2, 5]
    buffer.set(ClassCounts([1, 3]))
    assert buffer.derived(scaled, 2).tolist() == [2, 6] and calls == [2, 5]
    buffer.set(ClassCounts([4, 3]))
    assert buffer.derived(scaled, 2).tolist() == [8, 6]


def test_what_is_derived_follows_a_checkpoint_and_a_move():
    buffer, other = ClassCountsBuffer('MyLoss'), ClassCountsBuffer('MyLoss')
    buffer.set(ClassCounts([1, 3]))
    other.set(ClassCounts([7, 9]))
    assert buffer.derived(torch.clone).tolist() == [1, 3]
    buffer.load_state_dict(other.state_dict())
    assert buffer.derived(torch.clone).tolist() == [7, 9]
    assert copy.deepcopy(buffer).derived(torch.clone).tolist() == [7, 9]
    assert buffer.to('meta').derived(torch.clone).device.type == 'meta'
