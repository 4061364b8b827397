"""Views go through a network once each, and together where they can."""

import pytest
import torch

from lt_mm.models.networks.views import check_views, forward_views


def test_views_of_one_shape_share_a_forward():
    views = [torch.randn(2, 3, size, size) for size in (4, 6, 4)]
    calls = []

    def network(inputs):
        calls.append(tuple(inputs.shape))
        return inputs.sum((2, 3)), inputs.amax((2, 3))

    results = forward_views(network, views, [2, 0, 2, 1])
    assert calls == [(4, 3, 4, 4), (2, 3, 6, 6)]
    assert sorted(results) == [0, 1, 2]
    for index, (total, largest) in results.items():
        torch.testing.assert_close(total, views[index].sum((2, 3)))
        assert torch.equal(largest, views[index].amax((2, 3)))
    assert forward_views(network, views, []) == {} and len(calls) == 2


def test_a_tensor_is_one_view():
    view = torch.zeros(2, 3, 4, 4)
    assert check_views(view, 'X')[0] is view
    assert len(check_views([view] * 3, 'X')) == 3


@pytest.mark.parametrize('views', [[], [torch.zeros(2, 3, 4, 4)] * 4, [torch.zeros(3, 4, 4)] * 2])
def test_what_is_no_batch_of_views(views):
    with pytest.raises(ValueError, match='X takes one to three views .* MultiView .*default_coll'):
        check_views(views, 'X')
