"""KD and the noise-contrastive critic against loops in Python floats."""

import math

import pytest
import torch

from lt_mm.functional import distillation_loss, log_partition, noise_contrastive_loss


def softmax(row, temperature):
    weights = [math.exp(value / temperature) for value in row]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kd_is_t_squared_times_the_divergence_of_student_from_teacher(temperature):
    torch.manual_seed(0)
    student, teacher = 3 * torch.randn(2, 5, 4, dtype=torch.float64)
    expected = []
    for own, other in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = softmax(own, temperature), softmax(other, temperature)
        terms = (b * math.log(b / a) for a, b in zip(q, p, strict=True))
        expected.append(temperature**2 * sum(terms))
    torch.testing.assert_close(
        distillation_loss(student, teacher, temperature).tolist(), expected, rtol=1e-12, atol=0
    )


def test_kd_of_a_map_is_that_of_its_pixels():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 4, 5)
    loss = distillation_loss(student, teacher)
    pixels = (logits.movedim(1, -1).reshape(-1, 3) for logits in (student, teacher))
    assert loss.shape == (2, 4, 5)
    torch.testing.assert_close(loss.flatten(), distillation_loss(*pixels))


def test_kd_gradient():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_().unbind()
    assert torch.autograd.gradcheck(distillation_loss, (student, teacher, 4.0))


def test_kd_of_equal_logits_is_zero_whatever_their_offset():
    logits = torch.tensor([[1.0, -2.0, 3.0]])
    assert distillation_loss(logits, logits + 7).abs().item() < 1e-5


def test_kd_in_half_precision_is_that_in_float32():
    torch.manual_seed(0)
    student, teacher = (100 * torch.randn(2, 6, 10)).half()
    loss = distillation_loss(student, teacher, 1.0)
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    torch.testing.assert_close(loss, distillation_loss(student.float(), teacher.float(), 1.0))


def test_kd_of_certain_teacher_and_student_of_another_opinion_is_finite():
    student = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    loss = distillation_loss(student, torch.tensor([[0.0, 1000.0]]), 1.0)
    loss.sum().backward()
    assert loss.item() == 1000
    torch.testing.assert_close(student.grad, torch.tensor([[1.0, -1.0]]))


@pytest.mark.parametrize(('rows', 'classes', 'expected'), [(0, 3, []), (2, 1, [0.0, 0.0])])
def test_kd_of_nothing_and_of_one_class(rows, classes, expected):
    loss = distillation_loss(torch.ones(rows, classes), torch.zeros(rows, classes))
    assert loss.tolist() == expected


def test_kd_refuses_other_classes_and_a_temperature_of_zero():
    with pytest.raises(ValueError, match=r'\(2, 3\).*\(2, 1\)'):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 1))
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match='temperature'):
            distillation_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature)


def naive_critic(row, num_samples, temperature, normalizer):
    """-log h(positive) - sum of log(1 - h(negative)), as in the paper, h a quotient."""
    noise = (len(row) - 1) / num_samples
    h = []
    for value in row:
        p = math.exp(value / temperature) / normalizer
        h.append(p / (p + noise))
    return -math.log(h[0]) - sum(math.log(1 - value) for value in h[1:])


@pytest.mark.parametrize('normalizer', [1.0, 250.0])
def test_critic_is_that_of_the_paper(normalizer):
    torch.manual_seed(0)
    rows = 2 * torch.rand(3, 6, dtype=torch.float64) - 1
    expected = [naive_critic(row, 40, 0.3, normalizer) for row in rows.tolist()]
    loss = noise_contrastive_loss(rows, 40, 0.3, math.log(normalizer))
    torch.testing.assert_close(loss.tolist(), expected, rtol=1e-10, atol=0)


def test_critic_gradient():
    torch.manual_seed(0)
    rows = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: noise_contrastive_loss(r, 40, 0.3, 1.0), (rows,))


def test_critic_is_finite_where_the_quotient_overflows():
    # exp(1 / 0.001) is beyond float64.
    rows = torch.tensor([[-1.0, 1.0]], dtype=torch.float16, requires_grad=True)
    loss = noise_contrastive_loss(rows, 1, 0.001)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(2000)
    torch.testing.assert_close(rows.grad, torch.tensor([[-1000.0, 1000.0]]).half())


def test_critic_of_no_image_is_empty_and_of_no_negative_refused():
    assert noise_contrastive_loss(torch.zeros(0, 3), 10).shape == (0,)
    with pytest.raises(ValueError, match=r'\(2, 1\).*negative'):
        noise_contrastive_loss(torch.zeros(2, 1), 10)


def test_log_partition_makes_probabilities_one_over_m_on_average():
    torch.manual_seed(0)
    rows = torch.rand(3, 6, dtype=torch.float64)
    log_normalizer = log_partition(rows, 40, 0.1)
    values = [math.exp(value / 0.1) for value in rows.flatten().tolist()]
    assert log_normalizer.item() == pytest.approx(math.log(40 * sum(values) / len(values)))
    assert (rows / 0.1 - log_normalizer).exp().mean().item() == pytest.approx(1 / 40)
