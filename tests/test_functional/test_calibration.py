import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from lt_mm.functional.calibration import (
    calibration_sums,
    equal_width_bins,
    expected_calibration_error,
    maximum_calibration_error,
)


def figures(probabilities, labels, num_bins=15):
    sums = calibration_sums(torch.as_tensor(probabilities), torch.as_tensor(labels), num_bins)
    bins = [column.sum(dim=0) for column in (sums.counts, sums.confidences, sums.hits)]
    number = bins[0].sum()
    classwise = expected_calibration_error(
        sums.class_counts, sums.class_probabilities, sums.class_hits
    )
    found = dict(
        ECE=expected_calibration_error(*bins),
        MCE=maximum_calibration_error(*bins),
        classwise_ECE=classwise.mean(),
        NLL=sums.nll.sum() / number,
        Brier=sums.brier.sum() / number,
    )
    return {name: float(value) for name, value in found.items()}


def naive(probabilities, labels, num_bins=15):
    """Element by element and bin by bin, as the formulas are written."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    number, classes = p.shape

    def gaps(confidence, right):
        for b in range(num_bins):
            low, high = b / num_bins, (b + 1) / num_bins
            inside = [
                i
                for i in range(number)
                if low < confidence[i] <= high or (b == 0 and confidence[i] == 0)
            ]
            if inside:
                mean = sum(confidence[i] for i in inside) / len(inside)
                accuracy = sum(bool(right[i]) for i in inside) / len(inside)
                yield len(inside) / number, abs(mean - accuracy)

    top = list(gaps(p.max(axis=1), p.argmax(axis=1) == y))
    static = [sum(w * gap for w, gap in gaps(p[:, c], y == c)) for c in range(classes)]
    one_hot = np.eye(classes)[y]
    return dict(
        ECE=sum(weight * gap for weight, gap in top),
        MCE=max(gap for _, gap in top),
        classwise_ECE=sum(static) / classes,
        NLL=-sum(math.log(p[i, y[i]]) for i in range(number)) / number,
        Brier=sum(((p[i] - one_hot[i]) ** 2).sum() for i in range(number)) / number,
    )


def random_case(seed, number=300, classes=7, sharpness=3.0):
    generator = np.random.default_rng(seed)
    logits = sharpness * generator.normal(size=(number, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, generator.integers(classes, size=number)


@pytest.mark.parametrize('num_bins', [1, 4, 15])
@pytest.mark.parametrize('sharpness', [0.3, 3.0])
def test_every_figure_equals_a_naive_loop(num_bins, sharpness):
    case = random_case(num_bins, sharpness=sharpness)
    assert figures(*case, num_bins) == pytest.approx(naive(*case, num_bins), abs=1e-12)


def test_a_case_worked_by_hand():
    # Two bins. (0, .5]: confidence .5, wrong. (.5, 1]: .75 right, 1 right and .75 wrong.
    p = [[0.5, 0.5], [0.75, 0.25], [0.0, 1.0], [0.25, 0.75]]
    y = [1, 0, 1, 0]
    found = figures(torch.tensor(p), y, num_bins=2)
    # Gaps: |0.5 - 0| of 1 element, |2.5/3 - 2/3| = 1/6 of 3.
    assert found['ECE'] == pytest.approx(1 / 4 * 0.5 + 3 / 4 * (1 / 6))
    assert found['MCE'] == pytest.approx(0.5)
    # Class 0 has probabilities .5, 0 and .25 below, of which the last is a hit: |.75 - 1|; above
    # .75, a hit: |.75 - 1|. Class 1: .5, .25 below with a hit, |.75 - 1|; 1 and .75 above with
    # one, |1.75 - 1|.
    assert found['classwise_ECE'] == pytest.approx(((0.25 + 0.25) / 4 + (0.25 + 0.75) / 4) / 2)
    assert found['NLL'] == pytest.approx((math.log(2) + math.log(4 / 3) + 0 + math.log(4)) / 4)
    assert found['Brier'] == pytest.approx((0.5 + 0.125 + 0 + 1.125) / 4)


@pytest.mark.parametrize('num_bins', [1, 7, 10, 15, 49])
def test_bins_are_open_below_and_closed_above(num_bins):
    edges = np.arange(num_bins + 1) / num_bins
    values = np.concatenate([edges, np.nextafter(edges[1:], 0), np.nextafter(edges[:-1], 1)])
    expected = np.maximum(np.digitize(values, edges, right=True) - 1, 0)
    found = equal_width_bins(torch.from_numpy(values), num_bins)
    assert found.tolist() == expected.tolist()
    assert found.min() == 0 and found.max() == num_bins - 1


def test_with_15_bins_the_edges_are_those_of_the_public_code():
    assert (np.arange(16) / 15 == np.linspace(0, 1, 16)).all()


def test_confidence_of_exactly_0_and_1():
    sums = calibration_sums(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), 15)
    assert sums.counts.sum(0).tolist() == [0] * 14 + [2]
    assert sums.class_counts.tolist() == [[0] * 14 + [2], [2] + [0] * 14]
    found = figures(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), [0, 1])
    assert found['ECE'] == found['MCE'] == found['classwise_ECE'] == 0.5
    assert found['Brier'] == 1
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    assert found['NLL'] == pytest.approx(-math.log(smallest) / 2)


def test_one_class_is_never_wrong():
    assert set(figures(torch.ones(5, 1), [0] * 5).values()) == {0}


def test_empty_bins_have_no_gap():
    p, y = random_case(0, number=4, classes=3)
    sums = calibration_sums(torch.from_numpy(p), torch.from_numpy(y))
    counts = sums.counts.sum(0)
    assert (counts == 0).sum() >= 11
    assert all(np.isfinite(list(figures(p, y).values())))
    none = torch.zeros(15, dtype=torch.float64)
    assert expected_calibration_error(none, none, none).isnan()
    assert maximum_calibration_error(none, none, none) == 0


def test_sums_of_parts_are_the_sums_of_all():
    p, y = (torch.from_numpy(part) for part in random_case(3))
    whole = calibration_sums(p, y)
    parts = calibration_sums(p[:100], y[:100]) + calibration_sums(p[100:100], y[100:100])
    parts = parts + calibration_sums(p[100:], y[100:])
    for field in fields(whole):
        first, second = getattr(whole, field.name), getattr(parts, field.name)
        torch.testing.assert_close(first, second, rtol=1e-13, atol=1e-13)
        assert first.dtype in (torch.int64, torch.float64)


def test_rows_are_the_labels():
    p, y = (torch.from_numpy(part) for part in random_case(4))
    whole, some = calibration_sums(p, y), calibration_sums(p[y == 2], y[y == 2])
    assert whole.counts[2].tolist() == some.counts.sum(0).tolist()
    assert whole.hits[2].tolist() == some.hits.sum(0).tolist()
    assert whole.nll[2] == pytest.approx(some.nll.sum().item())
    assert whole.counts.sum(1).tolist() == torch.bincount(y, minlength=7).tolist()


def test_elements_with_nan_are_left_out_and_counted():
    p, y = (torch.from_numpy(part) for part in random_case(5))
    damaged = p.clone()
    damaged[::3, 1] = torch.nan
    kept = ~damaged.isnan().any(dim=1)
    found, expected = calibration_sums(damaged, y), calibration_sums(p[kept], y[kept])
    assert found.left_out == 100 and expected.left_out == 0
    assert found.counts.equal(expected.counts)
    assert found.brier.equal(expected.brier)
    assert calibration_sums(torch.full((3, 2), torch.nan), y[:3] % 2).counts.sum() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float64(dtype):
    p, y = random_case(6, number=2000)
    p = torch.from_numpy(p).to(dtype).clamp(min=1e-4)
    assert figures(p, y) == pytest.approx(naive(p.double(), y), abs=1e-12)


def test_a_million_equal_confidences_add_up_exactly():
    p = torch.tensor([[0.9, 0.1]]).expand(1_000_000, 2)
    sums = calibration_sums(p, torch.zeros(1_000_000, dtype=torch.int64))
    # In float32 the sum would be off by 1e-2 or more.
    assert sums.confidences.sum().item() == pytest.approx(p[0, 0].double().item() * 1e6, rel=1e-10)


def test_of_equal_probabilities_the_first_is_the_prediction():
    sums = calibration_sums(torch.full((2, 4), 0.25), torch.tensor([0, 3]))
    assert sums.hits.sum() == 1 and sums.hits[0].sum() == 1


def test_what_does_not_fit_is_named():
    p, y = (torch.from_numpy(part) for part in random_case(7))
    with pytest.raises(ValueError, match='scores from .* give probabilities'):
        calibration_sums(p * 20 - 1, y)
    with pytest.raises(ValueError, match='label 9 reached calibration, which has 7 classes'):
        calibration_sums(p, y.where(y != 3, 9))
    with pytest.raises(ValueError, match='num_bins is 0'):
        calibration_sums(p, y, 0)
