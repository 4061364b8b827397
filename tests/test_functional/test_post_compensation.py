"""The post-compensated softmax is Bayes' rule with another prior."""

import pytest
import torch

from lt_mm.functional import post_compensate


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
