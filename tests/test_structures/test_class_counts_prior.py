"""The prior that a sampler gives class counts, beside the counts themselves."""

import pytest
import torch

from lt_mm.structures import ClassCounts, ClassGroups

COUNTS = ClassCounts([90, 9, 1], ['a', 'b', 'c'], 'pixels', name='mine')


def test_the_prior_replaces_that_of_the_counts_alone():
    given = COUNTS.with_prior([2.0, 1.0, 1.0])
    torch.testing.assert_close(given.log_prior(), torch.tensor([0.5, 0.25, 0.25]).log())
    assert given.log_prior().dtype == torch.float32
    assert torch.equal(given.counts, COUNTS.counts)
    assert (given.class_names, given.unit, given.name) == (('a', 'b', 'c'), 'pixels', 'mine')
    # Groups follow the counts, whatever is drawn of them.
    turned = COUNTS.with_prior([1, 2, 3])
    assert ClassGroups.by_sizes((1, 1, 1)).split(turned)['head'].tolist() == [0]
    torch.testing.assert_close(COUNTS.log_prior().exp(), torch.tensor([0.9, 0.09, 0.01]))


def test_no_prior_takes_it_away():
    given = COUNTS.with_prior([1, 1, 1])
    assert given.with_prior(None) == COUNTS
    assert given != COUNTS and COUNTS != given
    assert given == COUNTS.with_prior([3, 3, 3])
    assert given != COUNTS.with_prior([3, 3, 4])


def test_a_class_that_is_never_drawn_has_no_prior():
    """As a class without samples has none with the prior of the counts."""
    counts = ClassCounts([6, 0, 2])
    of_counts = counts.with_prior(counts.counts.double())
    torch.testing.assert_close(of_counts.log_prior(), counts.log_prior())
    balanced = counts.with_prior([0.5, 0.0, 0.5]).log_prior()
    torch.testing.assert_close(balanced.exp(), torch.tensor([0.5, 0, 0.5]))
    # Whatever is given for a class of which there is nothing to draw.
    torch.testing.assert_close(counts.with_prior([1, 2, 1]).log_prior(), balanced)
    left_out = ClassCounts([6, 3, 2]).with_prior([1, 0, 1])
    torch.testing.assert_close(left_out.log_prior(), balanced)


def test_a_small_probability_is_left_as_it_is():
    given = ClassCounts([6, 2]).with_prior([1.0, 1e-9]).log_prior()
    torch.testing.assert_close(given, torch.tensor([1.0, 1e-9]).log(), rtol=1e-6, atol=1e-8)


def test_the_prior_is_saved(tmp_path):
    given = COUNTS.with_prior([0.3, 0.3, 0.4])
    given.save(tmp_path / 'counts.json')
    loaded = ClassCounts.load(tmp_path / 'counts.json')
    torch.testing.assert_close(loaded.prior, given.prior, rtol=1e-15, atol=0)
    COUNTS.save(tmp_path / 'counts.json')
    assert ClassCounts.load(tmp_path / 'counts.json').prior is None


@pytest.mark.parametrize(
    ('prior', 'text'),
    [
        ([1, 1], r'shape \(2,\) was given for 3 class counts'),
        ([0, 0, 0], 'is none'),
        ([1, -1, 1], 'is none'),
        ([1, float('nan'), 1], 'is none'),
        ([1, float('inf'), 1], 'is none'),
    ],
)
def test_what_is_no_prior(prior, text):
    with pytest.raises(ValueError, match=text):
        COUNTS.with_prior(prior)


def test_a_prior_of_classes_without_a_sample_alone():
    with pytest.raises(ValueError, match='nothing can be drawn'):
        ClassCounts([6, 0, 2]).with_prior([0, 1, 0])
