"""Ranks and samples within groups against dictionaries."""

from collections import Counter

import pytest
import torch
from host_syncs import HostSyncs

from lt_mm.functional import rank_within_group, sample_per_group


def test_rank_counts_earlier_members():
    groups = torch.randint(5, (200,))
    seen = Counter()
    expected = []
    for group in groups.tolist():
        expected.append(seen[group])
        seen[group] += 1
    assert rank_within_group(groups).tolist() == expected
    assert rank_within_group(groups[:0]).tolist() == []


def test_sample_takes_the_smaller_of_the_limit_and_the_group():
    groups = torch.tensor([3] * 50 + [1] * 2 + [7] * 10)
    chosen = sample_per_group(groups, 5)
    assert len(set(chosen.tolist())) == len(chosen)
    assert Counter(groups[chosen].tolist()) == {3: 5, 1: 2, 7: 5}


def test_sample_is_uniform_within_a_group():
    generator = torch.Generator().manual_seed(0)
    groups = torch.zeros(10, dtype=torch.long)
    drawn = Counter()
    for _ in range(2000):
        drawn.update(sample_per_group(groups, 3, generator).tolist())
    chi_square = sum((drawn[i] - 600) ** 2 / 600 for i in range(10))
    assert chi_square < 27.9  # 99.9 % quantile for 9 degrees of freedom


def test_sample_needs_a_positive_limit():
    with pytest.raises(ValueError, match='most is 0'):
        sample_per_group(torch.zeros(3), 0)


def test_a_sample_of_known_size_is_the_same_without_waiting():
    groups = torch.tensor([3] * 50 + [1] * 2 + [7] * 10)
    torch.manual_seed(0)
    expected = sample_per_group(groups, 5)
    torch.manual_seed(0)
    with HostSyncs() as found:
        chosen = sample_per_group(groups, 5, size=12)
    assert torch.equal(chosen, expected) and not found.waits
