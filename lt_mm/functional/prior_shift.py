"""What a trained classifier predicts under other class priors: many at once, fitted, estimated."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.post_compensation import NEVER

_NEWTON_STEPS = 50


def line_predictions(logits: Tensor, offsets: Tensor) -> Tensor:
    """``(logits + offset).argmax`` over classes for offsets that lie on a line, in order.

    Along a line, the logit of each class changes at a constant rate, so that a class which is best
    at two places is best between them: only elements that differ at both ends of a stretch are
    looked at inside it. Elements within rounding of a tie may fall to either class.

    Args:
        logits: (C, P).
        offsets: (A, C), in the order in which they lie on the line. Entries of -inf, for classes
            that are never predicted, are the same in all rows.

    Returns:
        (A, P) int64 classes.
    """
    # Few enough scores at once for the cache of a CPU; a GPU wants many.
    at_once = max(1, (2**19 if logits.device.type == 'cpu' else 2**27) // max(1, len(logits)))
    parts = [_on_line(part, offsets) for part in logits.split(at_once, dim=1)]
    return torch.cat(parts, dim=1)


def _on_line(logits: Tensor, offsets: Tensor) -> Tensor:
    found = torch.empty(
        len(offsets), logits.shape[1], dtype=torch.int64, device=logits.device
    )  # fmt: skip
    last = len(offsets) - 1
    for row in {0, last} if len(offsets) else ():
        found[row] = (logits + offsets[row, :, None]).argmax(dim=0)
    places = torch.arange(logits.shape[1], device=logits.device)
    stretches = [(0, last, places, logits)]
    while stretches:
        low, high, places, columns = stretches.pop()
        if high - low < 2:
            continue
        first = found[low, places]
        differs = (first != found[high, places]).nonzero().flatten()
        found[low + 1 : high, places] = first
        if len(differs) == 0:
            continue
        places, columns = places[differs], columns[:, differs]
        middle = (low + high) // 2
        found[middle, places] = (columns + offsets[middle, :, None]).argmax(dim=0)
        stretches += [(low, middle, places, columns), (middle, high, places, columns)]
    return found


def estimate_prior(
    probabilities: Tensor, prior: Tensor, max_steps: int = 1000, tolerance: float = 1e-6
) -> Tensor:
    """Class prior of unlabelled data, by expectation maximisation.

    Args:
        probabilities: p_s(c | x), (N, C), rows that sum to 1, of a calibrated classifier.
        prior: p_s, (C,), that these probabilities belong to; a class of 0 stays at 0.
        max_steps: E and M steps at most.
        tolerance: a step that changes no class by more is the last one.

    Returns:
        (C,) float64, sums to 1; the prior itself if N is 0.

    Raises:
        ValueError: if the shapes do not fit.

    Source: Saerens, Latinne, Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, Neural Computation 2002, eq. 2.9.
    """
    if probabilities.ndim != 2 or prior.shape != probabilities.shape[1:]:
        raise ValueError(
            f'probabilities of shape {tuple(probabilities.shape)} and a prior of shape '
            f'{tuple(prior.shape)} do not fit; give (N, C) and (C,).'
        )
    prior = prior.double() / prior.double().sum()
    estimate = prior
    if len(probabilities) == 0:
        return estimate
    likelihoods = probabilities.double() / prior.clamp(min=torch.finfo(torch.float64).tiny)
    likelihoods = likelihoods * (prior > 0)
    for _ in range(max_steps):
        joint = likelihoods * estimate
        new = (joint / joint.sum(dim=1, keepdim=True).clamp(min=1e-300)).mean(dim=0)
        new = new / new.sum()
        change = (new - estimate).abs().max()
        estimate = new
        if change <= tolerance:
            break
    return estimate


def fit_calibration(
    logits: Tensor, labels: Tensor, weights: Tensor, offsets: Tensor
) -> tuple[float, Tensor]:
    """Temperature T and class biases b of the likeliest ``logits / T + b + offsets``.

    Without biases, a model that knows its training set by heart gives too little to its rare
    classes wherever they come, which would be taken for a prior.

    Args:
        logits: (N, C).
        labels: (N,) classes.
        weights: (N,), how many elements each one stands for.
        offsets: (C,) log of the ratio of the prior of the labels to that in the logits; -inf for
            classes that are never predicted.

    Returns:
        T, from 0.05 to 20, and b, (C,) float64. The biases have a normal prior of deviation 1, so
        that classes without elements, and all if N is 0, have that of 0. T is 1 if N is 0.

    Source: bias-corrected temperature scaling of Alexandari, Kundaje, Shrikumar, Maximum Likelihood
    with Bias-Corrected Calibration is Hard-to-Beat at Label Shift Adaptation, ICML 2020.
    """
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    fits = (offsets > NEVER)[labels]
    logits, labels, weights = logits[fits].double(), labels[fits], weights[fits].double()
    if len(labels) == 0:
        return 1.0, bias.detach()
    shares, offsets = weights / weights.sum(), offsets.double().clamp(min=NEVER)
    optimizer = torch.optim.LBFGS(
        [log_temperature, bias], max_iter=_NEWTON_STEPS, line_search_fn='strong_wolfe'
    )
    limit = math.log(20)

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = logits / log_temperature.clamp(-limit, limit).exp() + bias + offsets
        loss = (shares * F.cross_entropy(scores, labels, reduction='none')).sum()
        loss = loss + bias.square().sum() / (2 * len(labels))
        loss.backward()
        return loss

    optimizer.step(closure)
    return log_temperature.detach().clamp(-limit, limit).exp().item(), bias.detach()


def soft_iou(probabilities: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over the labelled classes of intersection over union, with probabilities for votes.

    Args:
        probabilities: (N, C).
        labels: (N,) classes.
        weights: (N,), how many elements each one stands for.

    Returns:
        0-d; differentiable.
    """
    one_hot = F.one_hot(labels, probabilities.shape[1]).to(probabilities)
    shares = weights.to(probabilities)[:, None]
    intersection = (shares * probabilities * one_hot).sum(dim=0)
    union = (shares * (probabilities + one_hot - probabilities * one_hot)).sum(dim=0)
    # Divided last: of a class that nothing is of and nothing goes to, 0 / 0 has no gradient.
    labelled = one_hot.any(dim=0)
    return (intersection[labelled] / union[labelled]).mean()


def soft_macro_accuracy(probabilities: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over the labelled classes of the mean probability of the label.

    Args:
        probabilities: (N, C).
        labels: (N,) classes.
        weights: (N,), how many elements each one stands for.

    Returns:
        0-d; differentiable.
    """
    size = probabilities.shape[1]
    weights = weights.to(probabilities)
    right = probabilities.gather(1, labels[:, None]).squeeze(1) * weights
    elements = probabilities.new_zeros(size).index_add(0, labels, weights)
    hits = probabilities.new_zeros(size).index_add(0, labels, right)
    return (hits / elements.clamp(min=1e-300))[elements > 0].mean()


def fit_class_offsets(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    log_prior: Tensor,
    start: Tensor,
    goal: str = 'iou',
    strength: float = 0.01,
    monotone: bool = True,
) -> Tensor:
    """A number for each class that, added to its logits, serves rare and frequent classes alike.

    Maximises :func:`soft_iou` or :func:`soft_macro_accuracy`, less ``strength`` times the mean
    squared distance to ``start``.

    Args:
        logits: (N, C).
        labels: (N,) classes.
        weights: (N,), how many elements each one stands for.
        log_prior: (C,), of the training; only the order of the classes matters.
        start: (C,) offsets to begin with and to stay near, such as ``-alpha * log_prior``. A class
            of ``NEVER``, which is not predicted, keeps it.
        goal: 'iou' or 'accuracy'.
        strength: of the regularisation, 0 or more.
        monotone: never add less to a rarer class than to a more frequent one. ``start`` has to
            be so, too.

    Returns:
        (C,) float64.

    Raises:
        ValueError: if the goal is unknown, the strength negative, or there is nothing to fit to.
    """
    goals = dict(iou=soft_iou, accuracy=soft_macro_accuracy)
    if goal not in goals:
        raise ValueError(f'goal is {goal!r}; use one of {", ".join(goals)}.')
    if not (strength >= 0 and math.isfinite(strength)):
        raise ValueError(f'strength is {strength}, but it must be finite and 0 or more.')
    if len(labels) == 0:
        raise ValueError('there is no labelled element to fit offsets to; give a larger set.')
    logits, start = logits.double(), start.double()
    seen = start > NEVER
    order = log_prior.double().masked_fill(~seen, -torch.inf).argsort(descending=True, stable=True)
    order = order[: int(seen.sum())]
    begin = start[order]
    steps = begin.diff()
    if monotone and (steps < -1e-9).any():
        raise ValueError('start adds less to a rarer class; give -alpha * log_prior, alpha >= 0.')
    # A square root keeps steps at zero or more, and lets them leave zero in either direction.
    free = (steps.clamp(min=1e-4).sqrt() if monotone else begin).clone().requires_grad_()

    def offsets() -> Tensor:
        if not monotone:
            return start.index_copy(0, order, free)
        # The most frequent class is the reference: a constant for all changes nothing.
        values = torch.cat([begin[:1], begin[0] + free.square().cumsum(dim=0)])
        return start.index_copy(0, order, values)

    optimizer = torch.optim.LBFGS(
        [free], max_iter=_NEWTON_STEPS, history_size=10, line_search_fn='strong_wolfe'
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        current = offsets()
        distance = (current - start)[seen].square().mean()
        loss = strength * distance - goals[goal]((logits + current).softmax(1), labels, weights)
        loss.backward()
        return loss

    if free.numel():
        optimizer.step(closure)
    return offsets().detach()
