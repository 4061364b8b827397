"""What a student learns from a teacher: its probabilities, or which pairs of features match."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.checks import check_temperature

_MESSAGE = ('of the distillation', '4 is usual for logits and 0.07 for contrast')


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0
) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))``, sample by sample.

    The factor T^2 keeps the size of the gradient when T changes.

    Args:
        student_logits: (N, C) or (N, C, d1, ...), any floating dtype; computed in float32 at
            least.
        teacher_logits: of the same shape, of which a gradient reaches every one that wants it.
        temperature: T, positive.

    Returns:
        (N,) or (N, d1, ...), not negative but for rounding.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive and finite.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
    section 2; L_KD of Suh and Seo, ICML 2023, appendix A.2.
    """
    check_temperature(temperature, *_MESSAGE)
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f'the logits of the student have shape {tuple(student_logits.shape)} and those of the '
            f'teacher {tuple(teacher_logits.shape)}; take a teacher of the same classes and input '
            'size.'
        )
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    student = F.log_softmax(student_logits.to(dtype) / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.to(dtype) / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction='none', log_target=True).sum(1)
    return temperature**2 * divergence


def noise_contrastive_loss(
    similarities: Tensor,
    num_samples: int,
    temperature: float = 0.07,
    log_normalizer: float | Tensor = 0.0,
) -> Tensor:
    """Tell the one pair that belongs together from N pairs that do not; one term of CRD.

    ``-log h(positive) - sum over negatives of log(1 - h(negative))`` with
    ``h = p / (p + N / M)`` and ``p = exp(similarity / temperature) / Z``. Each logarithm is taken
    as that of a sigmoid, which neither overflows nor loses a probability near 0 or 1.

    Args:
        similarities: (B, 1 + N), g_T . g_S of the positive pair first; any floating dtype,
            computed in float32 at least.
        num_samples: M, images of the training set.
        temperature: tau, positive.
        log_normalizer: log Z. 0 is the equation as printed; the authors' code has the estimate
            of :func:`log_partition` for a first batch.

    Returns:
        (B,), the sum over the N negatives and not their mean.

    Raises:
        ValueError: if there is no negative, or the temperature is not positive and finite.

    Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020: the
    critic's objective and h(T, S) of section 3.1.
    """
    check_temperature(temperature, *_MESSAGE)
    negatives = similarities.shape[1] - 1
    if negatives < 1:
        raise ValueError(
            f'similarities have shape {tuple(similarities.shape)}, but at least one negative must '
            'follow the positive pair.'
        )
    dtype = torch.promote_types(similarities.dtype, torch.float32)
    # The log-odds of h: log p - log(N / M).
    logits = similarities.to(dtype) / temperature - log_normalizer
    logits = logits - math.log(negatives / num_samples)
    return -F.logsigmoid(logits[:, 0]) - F.logsigmoid(-logits[:, 1:]).sum(1)


def log_partition(similarities: Tensor, num_samples: int, temperature: float = 0.07) -> Tensor:
    """``log(M * mean(exp(similarity / temperature)))``: log Z as the authors' code estimates it.

    With this Z, the p of :func:`noise_contrastive_loss` is 1 / M on average.

    Args:
        similarities: any shape, of pairs that mostly do not belong together; not empty.
        num_samples: M, images of the training set.
        temperature: tau, positive.

    Returns:
        0-d, float32 at least.

    Raises:
        ValueError: if the temperature is not positive and finite.
    """
    check_temperature(temperature, *_MESSAGE)
    dtype = torch.promote_types(similarities.dtype, torch.float32)
    scores = similarities.to(dtype).flatten() / temperature
    return scores.logsumexp(0) + math.log(num_samples / scores.numel())
