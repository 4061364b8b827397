"""Means are over the elements of all ranks."""

import torch

from lt_mm.models.losses import LogitAdjustedLoss
from lt_mm.models.ranks import mean_over_ranks

TARGETS = [torch.tensor([0, 1, 255, 2]), torch.tensor([255, 255, 255, 1])]
LOGITS = [torch.arange(12.0).reshape(4, 3).sin(), torch.arange(12.0).reshape(4, 3).cos()]


def gradient(logits, target):
    logits = logits.clone().requires_grad_()
    loss = LogitAdjustedLoss(alpha=0)(logits, target, ignore_index=255)
    loss.backward()
    return loss.detach(), logits.grad


def on_rank(rank):
    count = mean_over_ranks(torch.tensor(3 - 2 * rank), torch.device('cpu'))
    return count, *gradient(LOGITS[rank], TARGETS[rank])


def test_two_uneven_ranks_give_the_mean_and_gradient_of_the_joint_batch(two_ranks):
    counts, losses, gradients = zip(*two_ranks(on_rank), strict=True)
    loss, joint = gradient(torch.cat(LOGITS), torch.cat(TARGETS))
    assert counts == (2, 2)
    torch.testing.assert_close(sum(losses) / 2, loss)
    torch.testing.assert_close(torch.cat(gradients) / 2, joint)


def test_one_process_keeps_its_count():
    count = torch.tensor(5)
    result = mean_over_ranks(count, torch.device('cpu'))
    assert result == 5 and result.dtype == torch.float32
    assert mean_over_ranks(0, torch.device('cpu')) == 0
