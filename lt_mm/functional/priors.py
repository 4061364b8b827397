"""What follows from class counts alone: log priors and the queue lengths of GML."""

from collections.abc import Sequence

import torch
from torch import Tensor


def check_counts(counts: Tensor | Sequence[float], *, whole: bool = False) -> Tensor:
    """Turn class counts into a tensor, or say what is wrong with them.

    Args:
        counts (Tensor | Sequence[float]): Samples of each class, shape (C,).
        whole (bool): Whether the counts have to be whole numbers. Defaults to False.

    Returns:
        Tensor: The counts, shape (C,), int64 if ``whole``, else float64, on the device they were
        on.

    Raises:
        ValueError: If the counts are no numbers, not 1-D, empty, negative, not finite, all zero, or
            not whole where they have to be.
    """
    if not isinstance(counts, Tensor):
        try:
            values = list(counts)
            as_int = all(isinstance(value, int) for value in values)
            counts = torch.tensor(values, dtype=torch.int64 if as_int else torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f'class counts must be one number for each class, got {counts!r:.80}: {error}'
            ) from error
    if counts.ndim != 1 or counts.numel() == 0:
        raise ValueError(
            f'class counts have shape {tuple(counts.shape)}: give one number for each class, '
            'shape (C,), of at least one class'
        )
    faults = [('finite', ~torch.isfinite(counts)), ('zero or more', counts < 0)]
    if whole:
        faults.append(('whole numbers', counts != counts.round()))
        faults.append(('below 2**63', counts.double() >= 2.0**63))
    for rule, broken in faults:
        if broken.any():
            first = int(broken.nonzero()[0])
            raise ValueError(
                f'class counts must be {rule}, but class {first} has {counts[first].item()}: '
                'write 0 for a class that is absent, or count the training set again'
            )
    if not counts.any():
        raise ValueError(
            f'class counts are zero for all {len(counts)} classes: count a set that has labels'
        )
    return counts.to(torch.int64 if whole else torch.float64)


def log_prior(counts: Tensor | Sequence[float]) -> Tensor:
    """Log of the class prior, log p(c).

    ``p(c) = n_c / sum_c n_c``. A class without a sample has the prior 0, so that its log is minus
    infinity: what adjusts logits neither boosts nor predicts it, see :func:`logit_shift`. Computed
    in float64.

    Source: eta_c of eq. 2 of Suh and Seo, Long-Tailed Recognition by Mutual Information
    Maximization between Latent Features and Ground-Truth Labels (GML), ICML 2023;
    Menon et al., Long-tail learning via logit adjustment, ICLR 2021.

    Args:
        counts (Tensor | Sequence[float]): n_c, samples of each class, shape (C,); a positive one
            below 1 counts as 1.

    Returns:
        Tensor: Log prior, shape (C,), float32; its exponentials sum to one.

    Raises:
        ValueError: If the counts are empty, negative, not finite or all zero.
    """
    counts = check_counts(counts)
    counts = torch.where(counts > 0, counts.clamp(min=1), 0)
    return (counts.log() - counts.sum().log()).float()


def logit_shift(log_prior: Tensor, alpha: float = 1.0, backward: float = 0.0) -> Tensor:
    """What the training with a class prior adds to the logits.

    ``alpha * log_prior - backward * reversed_log_prior(log_prior)``. In place of that, a class that
    does not occur is given the largest shift of all. Its prior says that its logit would not
    matter, so that nothing would keep it low, and without the shift, at test time, it would win
    over all others; as it is, it is pushed down like the class that is helped least.

    Args:
        log_prior: log p(c), (C,), minus infinity where a class does not occur.
        alpha: strength of the adjustment.
        backward: tau of SADE's expert for the tail.

    Returns:
        (C,), finite if a class occurs.
    """
    shift = alpha * log_prior
    if backward != 0:
        shift = shift - backward * reversed_log_prior(log_prior)
    absent = log_prior.isneginf()
    return torch.where(absent, shift.masked_fill(absent, -torch.inf).max(), shift)


def reversed_log_prior(log_prior: Tensor) -> Tensor:
    """The log prior of a training set in which frequent and rare classes change places.

    The class of rank r is given the value of the class of rank C - 1 - r. Of classes as frequent
    as each other, the lower index ranks as the rarer one. One that does not occur, of log prior
    minus infinity, has no rank and stays as it is.

    Source: public code of SADE (Zhang et al., Self-Supervised Aggregation of Diverse Experts for
    Test-Agnostic Long-Tailed Recognition, NeurIPS 2022), the inverse prior.

    Args:
        log_prior (Tensor): Shape (C,), any dtype; counts or probabilities will do as well.

    Returns:
        Tensor: The same values in another order, shape (C,).

    Raises:
        ValueError: If it is not one number for each class.
    """
    if log_prior.ndim != 1:
        raise ValueError(
            f'log_prior has shape {tuple(log_prior.shape)}: give one number for each class, '
            'shape (C,)'
        )
    values, order = log_prior.sort(stable=True)
    last, rank = len(values) - 1, torch.arange(len(values), device=values.device)
    absent = log_prior.isneginf().sum()
    other = torch.where(rank < absent, rank, last + absent - rank)
    return torch.empty_like(log_prior).scatter(0, order, values[other])


def queue_lengths(counts: Tensor | Sequence[int], size: int, min_size: int) -> Tensor:
    """Lengths of the class-wise queues of contrast samples, eq. 6 of GML.

    ``|Z_c| = k_m + (k - k_m * C) * p(c)`` with ``p(c) = n_c / sum_c n_c``, made whole by the
    largest remainder method: every length is rounded down, and the places left over go to the
    largest remainders, of equal ones to the lower class index. The arithmetic is exact.

    Args:
        counts (Tensor | Sequence[int]): n_c, samples of each class, shape (C,), whole numbers.
        size (int): k, the total number of contrast samples.
        min_size (int): k_m, the minimum length of a queue, at least 1.

    Returns:
        Tensor: Lengths, shape (C,), int64, each at least ``min_size``, summing to ``size``.

    Raises:
        ValueError: If the counts are not valid, ``min_size`` is below 1, or ``size`` is too small
            for C queues of ``min_size``.
    """
    counts = check_counts(counts, whole=True)
    num_classes = len(counts)
    if min_size < 1:
        raise ValueError(f'min_size is {min_size}, but every class needs a queue of 1 or more')
    spare = size - min_size * num_classes
    if spare < 0:
        raise ValueError(
            f'size={size} is too small for {num_classes} queues of min_size={min_size}: raise size '
            f'to {min_size * num_classes} or more, or lower min_size'
        )
    # Python integers, because spare * n_c of a large data set does not fit into 64 bits.
    values = counts.tolist()
    total = sum(values)
    floors, remainders = zip(*(divmod(spare * n, total) for n in values), strict=True)
    lengths = [min_size + floor for floor in floors]
    by_remainder = sorted(range(num_classes), key=lambda c: -remainders[c])
    for c in by_remainder[: spare - sum(floors)]:
        lengths[c] += 1
    return torch.tensor(lengths, dtype=torch.int64, device=counts.device)
