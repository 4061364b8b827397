"""The post-compensated softmax is Bayes' rule with another prior."""

import pytest
import torch

from lt_mm.functional import post_compensate
from lt_mm.structures import ClassCounts


def test_bayes_rule_in_floats():
    torch.manual_seed(0)
    likelihood = torch.rand(4, 3).double()  # p(x|c) of four images
    trained, wanted = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    posterior = likelihood * trained.double()
    logits = (posterior / posterior.sum(1, keepdim=True)).log()
    for prior, expected in ((None, likelihood), (wanted.log(), likelihood * wanted.double())):
        got = post_compensate(logits, trained.log(), 1.0, prior).softmax(1)
        torch.testing.assert_close(got, expected / expected.sum(1, keepdim=True), rtol=1e-6, atol=0)


def test_strength_and_maps():
    torch.manual_seed(0)
    logits, prior = torch.randn(2, 3, 4, 5), torch.tensor([0.5, 0.3, 0.2]).log()
    got = post_compensate(logits, prior, 0.3)
    for c in range(3):
        torch.testing.assert_close(got[:, c], logits[:, c] - 0.3 * prior[c])
    assert torch.equal(post_compensate(logits, prior, 0.0), logits)
    torch.testing.assert_close(post_compensate(logits, prior, 0.8, prior), logits)


def test_a_prior_of_other_classes():
    with pytest.raises(ValueError, match='logits have 3 classes'):
        post_compensate(torch.zeros(1, 3), torch.zeros(1))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_class_without_a_sample_is_never_predicted(dtype):
    prior = ClassCounts([9 * 10**9, 10**9, 0]).log_prior()
    logits = torch.tensor([[12.0, 0.0, -9.0], [0, 12, 300], [0, 0, 0]], dtype=dtype)
    target = ClassCounts([0, 1, 1]).log_prior()
    for alpha in (0.1, 1.0, 3.0):
        adjusted = post_compensate(logits, prior, alpha)
        assert adjusted.dtype == dtype and adjusted.isfinite().all()
        assert adjusted.argmax(1).tolist() == [0, 1, 1]
        torch.testing.assert_close(
            adjusted[:, :2], post_compensate(logits[:, :2], prior[:2], alpha)
        )
        # One class left.
        assert post_compensate(logits, prior, alpha, target).argmax(1).tolist() == [1, 1, 1]
    assert torch.equal(post_compensate(logits, prior, 0.0), logits)


def test_a_class_without_a_sample_leaves_maps_that_can_be_resized():
    prior = ClassCounts([9, 0, 1]).log_prior()
    maps = post_compensate(torch.randn(1, 3, 4, 4), prior)
    maps = torch.nn.functional.interpolate(maps, size=(7, 9), mode='bilinear')
    assert maps.isfinite().all() and not (maps.argmax(1) == 1).any()


def test_a_class_that_will_not_come_is_not_predicted():
    prior, target = torch.tensor([0.5, 0.5]).log(), ClassCounts([1, 0]).log_prior()
    assert post_compensate(torch.tensor([[0.0, 50.0]]), prior, 1.0, target).argmax() == 0
