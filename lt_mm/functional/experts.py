"""What experts that classify the same elements learn from each other's logits.

The logits of E experts are one tensor, (E, N, C, ...): images for classification, pixels for
segmentation. Results are element by element, so that a caller can leave out ignored ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.checks import check_temperature
from lt_mm.functional.class_axis import along_classes
from lt_mm.functional.priors import check_counts


def mutual_divergence(logits: Tensor, temperature: float = 1.0, detach: bool = True) -> Tensor:
    """``sum over ordered pairs i != j of T^2 KL(p_j || p_i) / (E - 1)``, p at temperature T.

    With two experts, each learns from the other as in deep mutual learning; with more, from the
    mean of the divergences to the others.

    Args:
        logits: (E, N, C, ...), any floating dtype; computed in float32 at least.
        temperature: T, positive.
        detach: whether p_j, the side that teaches, gets no gradient.

    Returns:
        (N, ...), not negative but for rounding.

    Raises:
        ValueError: if there are fewer than two experts, or the temperature is not positive and
            finite.

    Source: Zhang et al., "Deep Mutual Learning", CVPR 2018, eqs. 4 and 9; Li et al., "Nested
    Collaborative Learning for Long-Tailed Visual Recognition" (NCL), CVPR 2022, without detach.
    """
    check_temperature(temperature, 'between experts', '1 is usual')
    log_p = F.log_softmax(_of_experts(logits) / temperature, dim=2)
    teacher = log_p.detach() if detach else log_p
    # The pair of an expert with itself adds no value and, its gradient being p - p, no gradient.
    gaps = len(logits) * teacher - log_p.sum(0)
    return temperature**2 / (len(logits) - 1) * (teacher.exp() * gaps).sum((0, 2))


def diversity_divergence(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``sum over i of T^2 KL(p_mean || p_i)``, ``p_mean = softmax(mean logits / T)``; from RIDE.

    RIDE maximises it. The mean gets no gradient.

    Args:
        logits: (E, N, C, ...), any floating dtype; computed in float32 at least.
        temperature: T, positive; or one for each logit column, (C,), whose mean is then the T of
            the factor.

    Returns:
        (N, ...), not negative but for rounding.

    Raises:
        ValueError: if there are fewer than two experts, a temperature is not positive and finite,
            or there are not as many as classes.

    Source: Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts"
    (RIDE), ICLR 2021, eq. 3, and its public code.
    """
    logits = _of_experts(logits)
    if isinstance(temperature, Tensor):
        divisor = along_classes(temperature, logits[0])
        factor = temperature.to(logits).mean() ** 2
    else:
        check_temperature(temperature, 'between experts', '1 is usual')
        divisor, factor = temperature, temperature**2
    log_p = F.log_softmax(logits / divisor, dim=2)
    log_mean = F.log_softmax(logits.detach().mean(0) / divisor, dim=1)
    return factor * (log_mean.exp() * (len(logits) * log_mean - log_p.sum(0))).sum(1)


def class_wise_temperature(
    counts: Tensor | Sequence[float], temperature: float = 1.0, factor: float = 0.05
) -> Tensor:
    """RIDE's temperatures of the logit columns, the lower the rarer the class.

    ``T_c = T w_c / max(w)`` with ``w_c = factor C p(c) + 1 - factor``.

    Args:
        counts: (C,), samples of each class.
        temperature: T, of the most frequent class; positive.
        factor: 0 gives all classes the same; 0.05 on CIFAR-LT, 0.02 on ImageNet-LT.

    Returns:
        (C,) float32.

    Raises:
        ValueError: if the temperature is not positive and finite, the factor is outside [0, 1), or
            the counts are not valid.

    Source: public code of RIDE, ICLR 2021.
    """
    check_temperature(temperature, 'between experts', '1 is usual')
    if not 0 <= factor < 1:
        raise ValueError(
            f'factor of the class-wise temperature is {factor}, but it must be 0 or more and below '
            '1; 0.05 and 0.02 are published.'
        )
    counts = check_counts(counts)
    weights = factor * len(counts) * counts / counts.sum() + 1 - factor
    return (temperature * weights / weights.max()).float()


def hard_categories(logits: Tensor, labels: Tensor, num_hard: int) -> Tensor:
    """The label, and the classes that an expert takes it for most.

    Args:
        logits: (N, C, ...), of one expert.
        labels: (N, ...) integers in 0..C-1.
        num_hard: K, classes to return.

    Returns:
        (N, K, ...) int64 class indices, the label first, then the K - 1 other classes of the
        largest logits. Gathering logits by them and softmaxing is the same as softmaxing all
        logits with those outside :func:`hard_category_mask` at minus infinity, and cheaper.

    Raises:
        ValueError: if ``num_hard`` is not between 2 and C.

    Source: Li et al., CVPR 2022, section 3.3 (hard category mining).
    """
    if not 2 <= num_hard <= logits.shape[1]:
        raise ValueError(
            f'num_hard is {num_hard}, but it must be between 2 and {logits.shape[1]}, the classes '
            'of the logits; 30 of 100 classes and 300 of 1000 are published.'
        )
    labels = labels.long().unsqueeze(1)
    others = logits.detach().scatter(1, labels, -torch.inf).topk(num_hard - 1, dim=1).indices
    return torch.cat([labels, others], dim=1)


def hard_category_mask(logits: Tensor, labels: Tensor, num_hard: int) -> Tensor:
    """:func:`hard_categories` as a mask.

    Args:
        logits: (N, C, ...), of one expert.
        labels: (N, ...) integers in 0..C-1.
        num_hard: K.

    Returns:
        (N, C, ...) bool, K times True for each element. The other logits are to be set to minus
        infinity; at 0, as in the public code, they keep a probability that no gradient changes.

    Raises:
        ValueError: if ``num_hard`` is not between 2 and C.
    """
    categories = hard_categories(logits, labels, num_hard)
    return torch.zeros_like(logits, dtype=torch.bool).scatter(1, categories, True)


def gather_categories(logits: Tensor, categories: Tensor) -> Tensor:
    """Logits of every expert for the same classes.

    Args:
        logits: (E, N, C, ...).
        categories: (N, K, ...), of :func:`hard_categories`.

    Returns:
        (E, N, K, ...), in float32 at least.
    """
    shape = (len(logits), *categories.shape)
    hard = logits.gather(2, categories.expand(shape))
    return hard.to(torch.promote_types(hard.dtype, torch.float32))


def _of_experts(logits: Tensor) -> Tensor:
    if logits.ndim < 3 or len(logits) < 2:
        raise ValueError(
            f'logits of experts have shape {tuple(logits.shape)}, but an exchange between experts '
            'needs (E, N, C, ...) with two experts or more; raise num_experts, or leave interplay '
            'out.'
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
