"""Entries of other groups: never the own one, all others equally often, reproducible."""

import pytest
import torch

from lt_mm.functional import sample_other_groups

GROUPS = torch.tensor([2, 0, -1, 2, 1, 0, 2, -1])


def test_all_others_are_drawn_equally_often_and_the_own_group_never():
    own = torch.tensor([0, 1, 2, 5])
    picks = sample_other_groups(GROUPS, own, 20000, seeds=range(4))
    for row, group in zip(picks, own, strict=True):
        counts = torch.bincount(row, minlength=len(GROUPS))
        others = GROUPS != group
        assert (counts[~others] == 0).all()
        torch.testing.assert_close(
            counts[others] / 20000,
            torch.full_like(counts[others] / 1.0, 1 / others.sum()),
            rtol=0.06,
            atol=0,
        )


def test_a_row_gets_the_same_in_any_batch_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    own = torch.tensor([0, 1, 2])
    joint = sample_other_groups(GROUPS, own, 50, seeds=[7, 8, 9])
    alone = sample_other_groups(GROUPS, own[1:2], 50, seeds=[8])
    assert torch.equal(joint[1:2], alone)
    assert not torch.equal(joint, sample_other_groups(GROUPS, own, 50, seeds=[17, 18, 19]))
    assert torch.equal(state, torch.get_rng_state())


def test_no_row_and_no_other_group():
    assert sample_other_groups(GROUPS, GROUPS[:0], 5, seeds=[]).shape == (0, 5)
    with pytest.raises(ValueError, match='all 3 entries are of group 4'):
        sample_other_groups(torch.full((3,), 4), torch.tensor([4]), 5, seeds=[0])
