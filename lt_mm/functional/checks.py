"""Refuse what would silently become NaN, infinity or a wrong class.

Each look at values makes the host wait for the device, so a training step should look once: see
:func:`checked_once` and :func:`check_batch`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from lt_mm.functional.host import read_numbers

# What labels were already compared with in this step; None outside of :func:`checked_once`.
_checked: set[tuple[int, int | None]] | None = None


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


def check_temperature(temperature: float, owner: str, usual: str) -> None:
    """Raise if a temperature is not positive and finite.

    Args:
        temperature: of a softmax or a mixture.
        owner: whose it is, as in 'of GMLLoss'.
        usual: what the message recommends, such as '1 is usual'.

    Raises:
        ValueError: if it is not.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f'temperature {owner} is {temperature}, but it must be positive and finite; {usual}.'
        )
