"""KDLoss: mean, weight, gradient of the student alone, two ranks."""

import pytest
import torch

from lt_mm.models.losses import KDLoss
from lt_mm.registry import MODELS

STUDENT = torch.arange(20.0).reshape(5, 4).sin()
TEACHER = torch.arange(20.0).reshape(5, 4).cos()


def test_is_the_weighted_mean_over_samples():
    loss = MODELS.build(dict(type='KDLoss', temperature=2, loss_weight=3.0))
    p, q = (TEACHER.double() / 2).softmax(1), (STUDENT.double() / 2).softmax(1)
    expected = 3 * 4 * (p * (p / q).log()).sum() / 5
    torch.testing.assert_close(loss(STUDENT, TEACHER), expected.float())


def test_the_teacher_gets_no_gradient():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    KDLoss()(student, teacher).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None


def test_no_sample_is_zero_with_a_graph():
    student = torch.zeros(0, 4, requires_grad=True)
    loss = KDLoss()(student, torch.zeros(0, 4))
    loss.backward()
    assert loss == 0 and student.grad.shape == (0, 4)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match='same classes'):
        KDLoss()(STUDENT, TEACHER[:, :1])


def gradient(rows):
    student = STUDENT[rows].clone().requires_grad_()
    loss = KDLoss()(student, TEACHER[rows])
    loss.backward()
    return loss.detach(), student.grad


def gradient_of_rank(rank):
    return gradient(slice(0, 4) if rank == 0 else slice(4, 5))


def test_two_uneven_ranks_give_the_joint_batch(two_ranks):
    results = two_ranks(gradient_of_rank)
    loss, joint = gradient(slice(None))
    torch.testing.assert_close(sum(loss for loss, _ in results) / 2, loss)
    torch.testing.assert_close(torch.cat([grad for _, grad in results]) / 2, joint)
