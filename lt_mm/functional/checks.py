"""Refuse what would silently become NaN, infinity or a wrong class.

Each look at values makes the host wait for the device, so a training step should look once: see
:func:`checked_once` and :func:`check_batch`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real

import torch
from torch import Tensor

from lt_mm.functional.host import read_numbers

# What labels were already compared with in this step; None outside of :func:`checked_once`.
_checked: set[tuple] | None = None


@contextmanager
def checked_once(*passed: tuple[int, int | None]) -> Iterator[None]:
    """Look at labels once: all that are checked inside are of the same images.

    Further checks against as many classes are left out, unless they allow less. Contexts may be
    nested; a check is remembered until the outermost one ends, or the one with ``passed``.

    Args:
        passed: numbers of classes and labels to ignore that all labels inside are known to pass,
            as those do of which the ignored ones were taken out.
    """
    global _checked
    outer = _checked
    if outer is None or passed:
        _checked = {*(outer or ()), *passed}
    try:
        yield
    finally:
        _checked = outer


def check_labels(
    labels: Tensor, num_classes: int, owner: str, ignore_index: int | None = -100
) -> None:
    """Refuse labels that are neither a class nor the one to ignore.

    Args:
        labels: integers of any shape.
        num_classes: C.
        owner: what the error message calls the module that the labels reached.
        ignore_index: the one label outside 0..C-1 that is allowed; None allows none.

    Raises:
        ValueError: with the first such label.
    """
    check_batch(owner, labels, num_classes, ignore_index)


def check_finite(
    features: Tensor, owner: str, name: str, harm: str = 'the queue would be poisoned'
) -> None:
    """Refuse features that are NaN or infinite, before a memory keeps them.

    Args:
        features: of any shape.
        owner: what the error message calls the module that the features reached.
        name: what it calls the features.
        harm: what it says would happen.

    Raises:
        FloatingPointError: if one is not finite.
    """
    check_batch(owner, finite={name: features}, harm=harm)


def check_batch(
    owner: str,
    labels: Tensor | None = None,
    num_classes: int = 0,
    ignore_index: int | None = -100,
    finite: Mapping[str, Tensor] | None = None,
    harm: str = 'the queue would be poisoned',
    numbers: Sequence[Tensor] = (),
) -> list[list]:
    """:func:`check_labels` and :func:`check_finite` of a whole batch, in one look.

    Args:
        owner: see there.
        labels: see there; None for none.
        num_classes: see there.
        ignore_index: see there.
        finite: what must be finite, by the name that the error calls it.
        harm: see there.
        numbers: further ones that the host wants to know, see :func:`read_numbers`. Where a label
            is wrong they are not used, but must not fail.

    Returns:
        The values of ``numbers``.

    Raises:
        ValueError: for a label.
        FloatingPointError: for what is not finite.
    """
    key = (num_classes, ignore_index)
    if labels is not None and (_checked or set()) & {key, (num_classes, None)}:
        labels = None
    faults = {}
    if labels is not None:
        wrong = (labels < 0) | (labels >= num_classes)
        if ignore_index is not None:
            wrong &= labels != ignore_index
        faults['labels'] = wrong.any()
    for name, tensor in (finite or {}).items():
        faults[name] = ~tensor.detach().isfinite().all()
    if not faults and not numbers:
        return []
    found = read_numbers(*faults.values(), *numbers)
    for name, (fault,) in zip(faults, found, strict=False):
        if fault and labels is not None and name == 'labels':
            ignored = 'nothing' if ignore_index is None else ignore_index
            raise ValueError(
                f'label {int(labels[wrong][0])} reached {owner}, which has {num_classes} classes '
                f'and ignores {ignored}; correct num_classes, or how the data set maps its labels '
                '(reduce_zero_label in mmsegmentation).'
            )
        if fault:
            raise FloatingPointError(
                f'{owner}: {name} are not finite, so {harm}; lower the learning rate, clip '
                'gradients, or look for damaged inputs or weights.'
            )
    if labels is not None and _checked is not None:
        _checked.add(key)
    return found[len(faults) :]


def check_shapes(logits: Tensor, target: Tensor, owner: str) -> None:
    """Refuse a target that does not fit the logits, before broadcasting makes it fit.

    Args:
        logits: (N, C, ...).
        target: (N, ...) integer labels, or (N, C, ...) floating point soft targets.
        owner: what the error message calls the loss.

    Raises:
        ValueError: if either has another shape or dtype.
    """
    if logits.ndim < 2 or not logits.is_floating_point():
        raise ValueError(
            f'logits of shape {tuple(logits.shape)} and dtype {logits.dtype} reached {owner}, but '
            'it needs (N, C, ...) of floating point; give the output of the classifier.'
        )
    soft = target.is_floating_point()
    wanted = logits.shape if soft else logits.shape[:1] + logits.shape[2:]
    if target.shape == wanted and not target.dtype == torch.bool:
        return
    found, of = f'of shape {tuple(target.shape)} reached {owner}', tuple(logits.shape)
    if soft:
        raise ValueError(
            f'soft targets {found}, but the logits have {of}; give one number for each logit, or '
            'integer labels.'
        )
    if target.shape == logits.shape:
        raise ValueError(
            f'{target.dtype} targets {found}, one for each logit; soft and multi-hot targets have '
            'to be floating point, so convert them by .float().'
        )
    raise ValueError(
        f'{target.dtype} labels {found}, but logits of shape {of} need integers of shape '
        f'{tuple(wanted)}; give one label for each element.'
    )


def check_soft_targets(target: Tensor, owner: str, exclusive: bool) -> None:
    """Refuse soft targets that are no probabilities, in one look.

    Args:
        target: (N, C, ...).
        owner: what the error message calls the loss.
        exclusive: whether classes exclude each other, so that those of an element sum to one;
            otherwise each is between 0 and 1.

    Raises:
        ValueError: with the sum, or the number, of the first that is none.
    """
    key = ('soft', exclusive)
    if key in (_checked or ()):
        return
    dtype = torch.promote_types(target.dtype, torch.float32)
    # Comparisons that NaN does not pass.
    fits = (target >= 0) & (target <= 1)
    if exclusive:
        # Half precision rounds each of them.
        tolerance = 1e-3 if dtype == target.dtype else 2e-2
        sums = target.sum(1, dtype=dtype)
        fits = fits.all(1) & ((sums - 1).abs() <= tolerance)
    ((good,),) = read_numbers(fits.all())
    if not good:
        value = (sums if exclusive else target)[~fits][0].item()
        if exclusive:
            raise ValueError(
                f'soft targets that sum to {value:.4g} reached {owner}, whose classes exclude each '
                'other, so that the numbers of an element must be 0 or more and sum to 1; for '
                'several labels an element use FocalLoss or WeightedCrossEntropyLoss with '
                'use_sigmoid=True.'
            )
        raise ValueError(
            f'a soft target of {value:.4g} reached {owner}, but each has to be between 0 and 1.'
        )
    if _checked is not None:
        _checked.add(key)


def check_number(
    name: str, value: float, owner: str, advice: str, *, positive: bool = False
) -> float:
    """Refuse a setting that is not a finite number.

    Args:
        name: of the argument.
        value: of it.
        owner: whose it is.
        advice: what the message recommends.
        positive: whether it has to be above 0, too.

    Returns:
        The value.

    Raises:
        ValueError: if it is not such a number.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or (positive and value <= 0):
        wanted = 'positive and finite' if positive else 'finite'
        raise ValueError(f'{name} of {owner} is {value!r}, but it must be {wanted}; {advice}.')
    return value


def check_whole(name: str, value: int, owner: str, advice: str, least: int = 1) -> int:
    """Refuse a setting that is no whole number of at least ``least``.

    Args:
        name: of the argument.
        value: of it.
        owner: whose it is.
        advice: what the message recommends.
        least: the smallest that will do.

    Returns:
        The value.

    Raises:
        ValueError: if it is not such a number.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ValueError(
            f'{name} of {owner} is {value!r}, but it must be a whole number from {least}; {advice}.'
        )
    return value


def check_reduction(reduction: str, owner: str) -> None:
    """Refuse a reduction that :func:`~lt_mm.functional.reduce_loss` does not know.

    Raises:
        ValueError: if it does not.
    """
    if reduction not in ('none', 'sum', 'mean'):
        raise ValueError(f"reduction of {owner} is {reduction!r}; use 'none', 'sum' or 'mean'.")


def check_temperature(temperature: float, owner: str, usual: str) -> None:
    """Raise if a temperature is not positive and finite.

    Args:
        temperature: of a softmax or a mixture.
        owner: whose it is, as in 'of GMLLoss'.
        usual: what the message recommends, such as '1 is usual'.

    Raises:
        ValueError: if it is not.
    """
    is_number = isinstance(temperature, Real) and not isinstance(temperature, bool)
    if not (is_number and math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f'temperature {owner} is {temperature}, but it must be positive and finite; {usual}.'
        )
