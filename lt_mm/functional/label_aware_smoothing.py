"""Label smoothing by how frequent a class is."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.checks import check_shapes
from lt_mm.functional.class_axis import along_classes
from lt_mm.functional.priors import check_counts

SMOOTHING_SHAPES = ('concave', 'linear', 'convex', 'exponential')


def label_aware_smoothing(
    counts: Tensor | Sequence[float],
    head: float = 0.3,
    tail: float = 0.0,
    shape: str = 'concave',
    power: float = 1.0,
) -> Tensor:
    """Smoothing of each class, epsilon_y = f(n_y).

    With t from 0 for the rarest class to 1 for the most frequent one, by count: 'concave' is
    ``tail + (head - tail) * sin(pi t / 2)``, 'linear' ``tail + (head - tail) * t``, 'convex'
    ``head + (head - tail) * sin(3 pi / 2 + pi t / 2)``, and 'exponential' ``tail + (head - tail) *
    t ** power``. Where all classes are equally frequent there is no head: all have ``tail``. A
    class without a sample is taken for one of the rarest.

    Source: Zhong et al. (MiSLAS), CVPR 2021, eqs. 3.a to 3.c; eq. 7 of its supplement.

    Args:
        counts (Tensor | Sequence[float]): N_y, samples of each class, shape (C,).
        head (float): epsilon_1, of the most frequent class; at least 0 and below 1.
        tail (float): epsilon_K, of the rarest class; at least 0 and below 1.
        shape (str): 'concave', 'linear', 'convex' or 'exponential'. Defaults to 'concave'.
        power (float): p of eq. 7, for 'exponential'; below 1 concave, above 1 convex.

    Returns:
        Tensor: epsilon, shape (C,), float32.

    Raises:
        ValueError: If the counts are not valid, the shape is unknown, or a number is out of its
            range, or head below tail.
    """
    for name, value in (('head', head), ('tail', tail)):
        if not 0 <= value < 1:
            raise ValueError(
                f'{name} of label-aware smoothing is {value}, but it must be at least 0 and below '
                '1; use 0.1 to 0.4 for the head and 0 to 0.1 for the tail'
            )
    if head < tail:
        raise ValueError(
            f'head of label-aware smoothing is {head} and tail {tail}, but frequent classes are to '
            'be smoothed more than rare ones; give a head of at least the tail'
        )
    if shape not in SMOOTHING_SHAPES:
        raise ValueError(
            f'shape of label-aware smoothing is {shape!r}; use one of {", ".join(SMOOTHING_SHAPES)}'
        )
    if not 0 < power < math.inf:
        raise ValueError(
            f'power of label-aware smoothing is {power}, but it must be positive and finite; below '
            '1 the shape is concave, above 1 convex'
        )
    counts = check_counts(counts)
    rarest = counts.masked_fill(counts == 0, math.inf).min()
    spread = counts.max() - rarest
    t = (counts - rarest).clamp(min=0) / spread.masked_fill(spread == 0, 1)
    rise = {
        'concave': lambda: torch.sin(math.pi / 2 * t),
        'linear': lambda: t,
        'convex': lambda: 1 + torch.sin(3 * math.pi / 2 + math.pi / 2 * t),
        'exponential': lambda: t**power,
    }[shape]()
    return (tail + (head - tail) * rise).float()


def smoothed_cross_entropy(
    logits: Tensor,
    target: Tensor,
    smoothing: Tensor,
    share: str = 'others',
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy with labels that give away ``smoothing[y]`` of their mass.

    Args:
        logits: (N, C, ...), any floating dtype; the softmax is in float32 at least.
        target: (N, ...) class indices, or soft targets of the logits' shape, each class of which
            is smoothed as its own.
        smoothing: (C,) epsilon_y.
        share: 'others' gives each of the other classes ``epsilon_y / (C - 1)``, eq. 9 of the
            paper; 'all' gives every class ``epsilon_y / C``, the label's own included, as the
            authors' code does. A single class has nothing to give away to.
        ignore_index: label of elements whose loss is 0; hard targets only.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Raises:
        ValueError: for another ``share``, or if ``smoothing`` is of another number of classes.

    Source: Zhong et al. (MiSLAS), CVPR 2021, eqs. 8 and 9 of its supplement.
    """
    check_shapes(logits, target, 'label-aware smoothing')
    num_classes = logits.shape[1]
    if share not in ('others', 'all'):
        raise ValueError(f"share of label-aware smoothing is {share!r}; use 'others' or 'all'")
    log_p = F.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
    smoothing = along_classes(smoothing, log_p)
    if num_classes == 1:
        smoothing = torch.zeros_like(smoothing)
    given = smoothing / (num_classes if share == 'all' else max(num_classes - 1, 1))
    # What the label keeps beyond what it is given as any class.
    kept = 1 - smoothing if share == 'all' else 1 - smoothing - given
    if target.is_floating_point():
        target = target.to(log_p)
        smoothed = target * kept + (target * given).sum(1, keepdim=True)
        return -(log_p * smoothed).sum(1)
    ignored = target == ignore_index
    label = target.long().masked_fill(ignored, 0)
    own = log_p.gather(1, label.unsqueeze(1)).squeeze(1)
    loss = -(kept.flatten()[label] * own + given.flatten()[label] * log_p.sum(1))
    return loss.masked_fill(ignored, 0)
