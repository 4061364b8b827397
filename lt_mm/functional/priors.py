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

    ``p(c) = max(n_c, 1) / sum_c max(n_c, 1)``: a class without a sample is given the count of one,
    so that its prior stays finite. Computed in float64.

    Source: eta_c of eq. 2 of Suh and Seo, Long-Tailed Recognition by Mutual Information
    Maximization between Latent Features and Ground-Truth Labels (GML), ICML 2023;
    Menon et al., Long-tail learning via logit adjustment, ICLR 2021.

    Args:
        counts (Tensor | Sequence[float]): n_c, samples of each class, shape (C,).

    Returns:
        Tensor: Log prior, shape (C,), float32; its exponentials sum to one.

    Raises:
        ValueError: If the counts are empty, negative, not finite or all zero.
    """
    counts = check_counts(counts).clamp(min=1)
    return (counts.log() - counts.sum().log()).float()


def reversed_log_prior(log_prior: Tensor) -> Tensor:
    """The log prior of a training set in which frequent and rare classes change places.

    The class of rank r is given the value of the class of rank C - 1 - r. Of classes as frequent
    as each other, the lower index ranks as the rarer one.

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
    return torch.empty_like(log_prior).scatter(0, order, values.flip(0))


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
