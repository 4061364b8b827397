"""How far confidence is from accuracy: sums over bins that may be added up in any order.

Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (ECE, MCE); Kull et al.,
Beyond Temperature Scaling, NeurIPS 2019 (class-wise ECE); Zhong et al., CVPR 2021 (MiSLAS),
appendix C, which draws them for long-tailed recognition with 15 bins.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lt_mm.functional.checks import check_labels


@dataclass(frozen=True)
class CalibrationSums:
    """What all calibration figures are made of; those of two sets of elements add up with ``+``.

    Rows are C classes, columns B bins. The first three describe the class with the highest
    probability, and rows are the true classes, so that the rows of a group of classes sum to the
    bins of that group. The second three describe every class's own probability.

    Args:
        counts: (C, B) int64, elements by label and bin of their confidence.
        confidences: (C, B) float64, sum of their confidences.
        hits: (C, B) int64, how many of them are predicted correctly.
        class_counts: (C, B) int64, elements by bin of the probability of class c.
        class_probabilities: (C, B) float64, sum of these probabilities.
        class_hits: (C, B) int64, how many of these elements are of class c.
        nll: (C,) float64, sum of -log of the label's probability, in nats, by label.
        brier: (C,) float64, sum of the squared distances to the one-hot label, by label.
        left_out: 0-d int64, elements with a score that is not a number, in none of the other sums.
    """

    counts: Tensor
    confidences: Tensor
    hits: Tensor
    class_counts: Tensor
    class_probabilities: Tensor
    class_hits: Tensor
    nll: Tensor
    brier: Tensor
    left_out: Tensor

    def __add__(self, other: 'CalibrationSums') -> 'CalibrationSums':
        names = [field.name for field in fields(self)]
        return CalibrationSums(*(getattr(self, name) + getattr(other, name) for name in names))

    def cpu(self) -> 'CalibrationSums':
        """The same in host memory."""
        return CalibrationSums(*(getattr(self, field.name).cpu() for field in fields(self)))


def equal_width_bins(values: Tensor, num_bins: int) -> Tensor:
    """In which of the bins (0, 1/B], ..., (1 - 1/B, 1] a number lies; 0 is in the first.

    As ``numpy.digitize(values, numpy.arange(B + 1) / B, right=True) - 1``, but for the 0.

    Args:
        values: probabilities, any shape.
        num_bins: B, at least 1.

    Returns:
        int64 indices from 0 to B - 1, in the shape of ``values``.
    """
    # In float64: an edge rounded to float16 may be another bin's.
    inner = torch.arange(1, num_bins, dtype=torch.float64, device=values.device) / num_bins
    return torch.bucketize(values.double(), inner)


def calibration_sums(probabilities: Tensor, labels: Tensor, num_bins: int = 15) -> CalibrationSums:
    """Sum up what the calibration figures of a set of elements are made of.

    All sums are in float64. Where several classes share the highest probability, the first is the
    prediction. A label's probability of 0 counts as the smallest positive number of its type, so
    that one element does not make the NLL infinite.

    Args:
        probabilities: (N, C), from 0 to 1.
        labels: (N,) integers from 0 to C - 1.
        num_bins: B, bins of equal width. Defaults to 15.

    Returns:
        Sums on the device of ``probabilities``.

    Raises:
        ValueError: if a number is not a probability, a label is not a class, or there is no bin.
    """
    if num_bins < 1:
        raise ValueError(f'num_bins is {num_bins}: calibration needs at least 1 bin.')
    num_classes = probabilities.shape[1]
    check_labels(labels, num_classes, 'calibration', ignore_index=None)
    left_out = labels.new_zeros((), dtype=torch.long)
    # A sum is NaN where a summand is, and takes a pass less than a mask.
    if probabilities.sum().isnan():
        known = ~probabilities.isnan().any(dim=1)
        left_out = (~known).sum()
        probabilities, labels = probabilities[known], labels[known]
    if probabilities.numel():
        lowest, highest = probabilities.aminmax()
        if lowest < 0 or highest > 1 + 1e-6:
            raise ValueError(
                f'calibration got scores from {lowest.item():g} to {highest.item():g}: give '
                'probabilities, such as softmax makes of logits.'
            )
    number = torch.finfo(probabilities.dtype)
    smallest = number.smallest_normal * number.eps
    probabilities, labels = probabilities.double(), labels.long()

    confidence, prediction = probabilities.max(dim=1)
    cell = labels * num_bins + equal_width_bins(confidence, num_bins)
    of_label = probabilities.gather(1, labels[:, None])[:, 0]
    squares = probabilities.square().sum(dim=1) - of_label.square() + (1 - of_label).square()

    label_cell = labels * num_bins + equal_width_bins(of_label, num_bins)
    # Of many classes, nearly all probabilities lie in the first bin, which is what the others
    # leave; only these, less than B of each element, are looked at one by one.
    flat = probabilities.flatten()
    (large,) = (flat > (1 / num_bins if num_bins > 1 else math.inf)).nonzero(as_tuple=True)
    values = flat[large]
    class_cell = large % num_classes * num_bins + equal_width_bins(values, num_bins)

    cells, shape = num_classes * num_bins, (num_classes, num_bins)
    class_counts = _count(class_cell, cells).view(shape)
    class_probabilities = _sum(values, class_cell, cells).view(shape)
    class_counts[:, 0] = len(labels) - class_counts.sum(dim=1)
    class_probabilities[:, 0] = flat.index_fill(0, large, 0).view_as(probabilities).sum(dim=0)
    return CalibrationSums(
        counts=_count(cell, cells).view(shape),
        confidences=_sum(confidence, cell, cells).view(shape),
        hits=_count(cell[prediction == labels], cells).view(shape),
        class_counts=class_counts,
        class_probabilities=class_probabilities,
        class_hits=_count(label_cell, cells).view(shape),
        nll=_sum(-of_label.clamp(min=smallest).log(), labels, num_classes),
        brier=_sum(squares, labels, num_classes),
        left_out=left_out,
    )


def expected_calibration_error(counts: Tensor, confidences: Tensor, hits: Tensor) -> Tensor:
    """Mean distance of confidence and accuracy over bins, weighted by their elements (ECE).

    Args:
        counts: (..., B), elements of each bin.
        confidences: (..., B), sums of their confidences.
        hits: (..., B), how many of them are right.

    Returns:
        (...) float64 from 0 to 1; NaN without an element.
    """
    return (hits - confidences).abs().sum(dim=-1) / counts.sum(dim=-1)


def maximum_calibration_error(counts: Tensor, confidences: Tensor, hits: Tensor) -> Tensor:
    """Largest distance of confidence and accuracy in a bin that is not empty (MCE).

    Args:
        counts: (..., B), elements of each bin.
        confidences: (..., B), sums of their confidences.
        hits: (..., B), how many of them are right.

    Returns:
        (...) float64 from 0 to 1; 0 without an element.
    """
    return ((hits - confidences).abs() / counts.clamp(min=1)).amax(dim=-1)


def _count(cell: Tensor, cells: int) -> Tensor:
    return torch.bincount(cell, minlength=cells)


def _sum(values: Tensor, cell: Tensor, cells: int) -> Tensor:
    # bincount with weights is refused on GPUs by torch.use_deterministic_algorithms.
    return values.new_zeros(cells).index_add_(0, cell, values)
