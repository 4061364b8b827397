"""Parametric contrast: class centres among the keys of a contrastive loss (PaCo)."""

import torch
from torch import Tensor

from lt_mm.functional.contrast import compare
from lt_mm.functional.priors import logit_shift


def parametric_contrastive_loss(
    queries: Tensor,
    labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    class_logits: Tensor,
    temperature: float,
    *,
    log_prior: Tensor | None = None,
    alpha: float = 0.05,
    beta: float = 1.0,
    self_indices: Tensor | None = None,
) -> Tensor:
    """``-sum_p w_p log(exp(s_p) / sum_k exp(s_k)) / sum_p w_p`` over keys and class centres.

    The similarity to a key is ``s = q . k / temperature``, that to the centre of class c is
    ``class_logits[c] + log_prior[c]``, without the temperature. The positives are the centre of
    the query's class with weight ``beta`` and each key of its class with weight ``alpha``; the
    sum in the denominator is over all centres and all keys. The query itself is in neither.

    Without a key this is logit-adjusted cross-entropy.

    Args:
        queries: (N, D) floating point, L2-normalised for the paper's reading.
        labels: (N,) int64 classes.
        keys: (K, D) floating point.
        key_labels: (K,) int64 classes.
        class_logits: (N, C) floating point, those of the classifier.
        temperature: tau of the keys, positive.
        log_prior: (C,) log p(c). None leaves the centres unadjusted; a class of minus infinity,
            which does not occur, is treated as :func:`logit_shift` says.
        alpha: weight of a key of the query's class, 0 or more.
        beta: weight of the centre of the query's class, positive.
        self_indices: (N,) int64, which of the keys each query is. None: it is none of them.

    Returns:
        (N,) losses of the queries' dtype promoted to at least float32.

    Raises:
        ValueError: if shapes do not fit, the temperature is not positive and finite, ``alpha`` is
            negative or ``beta`` is not positive.

    Source: Cui et al., "Parametric Contrastive Learning", ICCV 2021, eqs. 3 and 4 with the
    division by the sum of weights that the authors' code has.
    """
    if not (alpha >= 0 and beta > 0):
        raise ValueError(
            f'alpha is {alpha} and beta is {beta}, but they weight positives: alpha must be 0 or '
            'more and beta more than 0.'
        )
    if class_logits.ndim != 2 or len(class_logits) != len(queries):
        raise ValueError(
            f'class_logits has shape {tuple(class_logits.shape)}, expected ({len(queries)}, C): '
            'one row per query.'
        )
    if log_prior is not None and log_prior.shape != class_logits.shape[1:]:
        raise ValueError(
            f'log_prior has shape {tuple(log_prior.shape)}, but class_logits has '
            f'{class_logits.shape[1]} classes; use the class counts of the data set that is '
            'trained on.'
        )
    logits, positive = compare(queries, labels, keys, key_labels, temperature, self_indices)
    class_logits = class_logits.to(logits)
    if log_prior is not None:
        class_logits = class_logits + logit_shift(log_prior.to(logits))
    own_centre = class_logits.gather(1, labels[:, None])[:, 0]
    own_class = logits.masked_fill(~positive, 0).sum(dim=1)
    weight = beta + alpha * positive.sum(dim=1, dtype=logits.dtype)
    attraction = (beta * own_centre + alpha * own_class) / weight
    return torch.logaddexp(class_logits.logsumexp(dim=1), logits.logsumexp(dim=1)) - attraction
