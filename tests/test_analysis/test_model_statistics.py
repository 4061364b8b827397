"""Statistics of a model, restated pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from lt_mm.analysis.model_statistics import (
    BAND,
    NUM_BINS,
    ModelStatistics,
    boundary_band,
    model_statistics,
    worst_pairs,
)

C, IGNORED = 4, 255


def samples(number=3, seed=0, height=9, width=14):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(number):
        labels = torch.randint(0, C - 1, (1, height // 3, width // 2), generator=generator)
        labels = labels.repeat_interleave(3, 1).repeat_interleave(2, 2)
        labels[0, 0, :3] = IGNORED
        scores = torch.randn(C, height, width, generator=generator) * 2
        scores.scatter_add_(0, labels.clamp(max=C - 1), torch.full((1, height, width), 1.5))
        made.append(
            dict(
                gt_sem_seg=dict(data=labels),
                seg_logits=dict(data=scores),
                pred_sem_seg=dict(data=scores.argmax(0, keepdim=True)),
                img_path=f'{i}.png',
            )
        )
    return made


def collected(made, **kwargs):
    sums = ModelStatistics(C, True, **kwargs)
    sums.process(None, made[:2])
    sums.process(None, made[2:])
    assert sums.evaluate(len(made)) == {}
    return sums


def pixels(made):
    """(image, y, x, label, prediction, confidence) of every pixel that is not ignored."""
    for i, sample in enumerate(made):
        labels, scores = sample['gt_sem_seg']['data'][0], sample['seg_logits']['data'].double()
        for y, x in np.ndindex(*labels.shape):
            if labels[y, x] != IGNORED:
                probabilities = scores[:, y, x].softmax(0)
                best = int(probabilities.argmax())
                yield i, y, x, int(labels[y, x]), best, float(probabilities[best])


def test_confusion_and_scores():
    made = samples()
    sums = collected(made)
    naive = np.zeros((C, C), int)
    for *_, label, prediction, _ in pixels(made):
        naive[label, prediction] += 1
    assert (sums.confusion == naive).all() and sums.images == 3
    groups = dict(head=torch.tensor([0]), body=torch.tensor([1]), tail=torch.tensor([2, 3]))
    told = model_statistics(sums, groups)
    recall = [naive[c, c] / naive[c].sum() for c in range(3)]
    iou = [naive[c, c] / (naive[c].sum() + naive[:, c].sum() - naive[c, c]) for c in range(C)]
    assert told['scores']['mAcc'] == pytest.approx(np.mean(recall))
    assert told['scores']['mIoU'] == pytest.approx(np.mean(iou))
    assert told['scores']['aAcc'] == pytest.approx(naive.trace() / naive.sum())
    assert told['per_class']['iou'] == pytest.approx(iou)
    assert math.isnan(told['per_class']['accuracy'][3])
    # Class 3 has no label, so that the tail is class 2.
    row = told['group_confusion']['tail']
    total = naive[2].sum()
    assert row['right'] == pytest.approx(naive[2, 2] / total)
    assert row['head'] == pytest.approx(naive[2, 0] / total)
    assert row['tail'] == pytest.approx(naive[2, 3] / total)
    assert sum(row.values()) == pytest.approx(1)


def test_calibration_by_group():
    made = samples()
    told = model_statistics(collected(made), dict(a=torch.tensor([0, 2]), b=torch.tensor([1])))
    for name, classes in dict(a=(0, 2), b=(1,)).items():
        bins = [[] for _ in range(NUM_BINS)]
        for *_, label, prediction, confidence in pixels(made):
            if label in classes:
                bins[math.ceil(confidence * NUM_BINS) - 1].append((confidence, label == prediction))
        number = sum(map(len, bins))
        ece = sum(abs(sum(h for _, h in b) - sum(c for c, _ in b)) for b in bins) / number
        found = told['calibration']['groups'][name]
        assert found['number'] == number and found['ECE'] == pytest.approx(ece, abs=1e-6)
        assert found['bins']['number'] == list(map(len, bins))


@pytest.mark.parametrize('size', [(9, 14), (30, 400)])
def test_the_band_along_boundaries(size):
    labels = torch.randint(0, 2, (3, 5)).repeat_interleave(size[0] // 3, 0)
    labels = labels.repeat_interleave(size[1] // 5, 1)
    labels[0, 0] = IGNORED
    radius = max(1, round(BAND * math.hypot(*labels.shape)))
    band = boundary_band(labels)
    for y, x in np.ndindex(*labels.shape):
        around = labels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        assert bool(band[y, x]) == bool((around != labels[y, x]).any())


def test_boundary_and_interior():
    made = samples()
    told = model_statistics(collected(made), dict(all=torch.arange(C)))['boundary']['all']
    sums = np.zeros((2, 2))
    for i, y, x, label, prediction, _ in pixels(made):
        at_boundary = bool(boundary_band(made[i]['gt_sem_seg']['data'][0])[y, x])
        sums[:, 1 - at_boundary] += 1, label != prediction
    assert told['boundary_error'] == pytest.approx(sums[1, 0] / sums[0, 0])
    assert told['interior_error'] == pytest.approx(sums[1, 1] / sums[0, 1])
    assert told['boundary_share'] == pytest.approx(sums[0, 0] / sums[0].sum())
    assert told['boundary_share_of_errors'] == pytest.approx(sums[1, 0] / sums[1].sum())


def test_regions_that_are_found():
    labels = torch.zeros(1, 6, 8, dtype=torch.int64)
    labels[0, :2, :2] = 1  # 4 pixels, half right
    labels[0, 4:, 5:] = 1  # 6 pixels, one right
    prediction = torch.zeros_like(labels)
    prediction[0, 0, :2] = prediction[0, 5, 7] = 1
    scores = torch.nn.functional.one_hot(prediction[0], C).permute(2, 0, 1).float() * 5
    sample = dict(gt_sem_seg=dict(data=labels), seg_logits=dict(data=scores))
    sums = ModelStatistics(C, True)
    sums.process(None, [{**sample, 'pred_sem_seg': dict(data=prediction)}])
    assert sums.regions[:, 1, 2].tolist() == [2, 1, 10, 3]
    assert sums.regions[:, 0, 5].tolist() == [1, 1, 38, 38]


def test_examples_are_the_images_where_a_pair_is_worst():
    made = samples()
    sums = collected(made)
    times = {}
    for i, *_, label, prediction, _ in pixels(made):
        if label != prediction:
            times.setdefault((label, prediction), [0] * 3)[i] += 1
    assert {pair: (max(n), n.index(max(n))) for pair, n in times.items()} == sums.examples


def test_pairs_by_their_share_of_the_label():
    confusion = np.array([[90, 10, 0], [5, 5, 0], [1, 4, 5]])
    pairs = worst_pairs(confusion, 3)
    assert [(p['label'], p['predicted'], p['number']) for p in pairs] == [
        (1, 0, 5), (2, 1, 4), (0, 1, 10)
    ]  # fmt: skip
    assert [p['share'] for p in pairs] == [0.5, 0.4, 0.1]
    assert worst_pairs(np.diag([3, 4]), 20) == []


def test_nothing_grows_with_the_number_of_images():
    made = samples(2)
    sums = ModelStatistics(C, True)
    for _ in range(5):
        sums.process(None, made)
    assert sums.results == [] and len(sums.examples) <= C * (C - 1) and sums.images == 10


def test_one_output_that_tells_two_classes_apart():
    labels = torch.tensor([[[0, 1], [1, 1]]])
    scores = torch.tensor([[[0.1, 0.7], [0.4, 0.9]]])
    sample = dict(
        gt_sem_seg=dict(data=labels),
        seg_logits=dict(data=scores),
        pred_sem_seg=dict(data=(scores > 0.5).float()),
    )
    sums = ModelStatistics(2, True)
    sums.process(None, [sample])
    assert sums.confusion.tolist() == [[1, 0], [1, 2]]
    assert sums.calibration[1].sum(1) == pytest.approx([0.9, 0.7 + 0.6 + 0.9])


def test_an_image_without_a_label():
    sample = samples(1)[0]
    sample['gt_sem_seg']['data'][:] = IGNORED
    sums = ModelStatistics(C, True)
    sums.process(None, [sample])
    told = model_statistics(sums, dict(all=torch.arange(C), none=torch.arange(0)))
    assert math.isnan(told['scores']['aAcc']) and told['worst_pairs'] == []


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda s: s['seg_logits']['data'].__setitem__((0, 0, 0), float('nan')), r"'0.png'.*NaN"),
        (lambda s: s['gt_sem_seg']['data'].__setitem__((0, 5, 5), 77), 'label 77'),
        (lambda s: s.pop('gt_sem_seg'), 'has no gt_sem_seg'),
        (lambda s: s['gt_sem_seg'].update(data=torch.zeros(1, 3, 3)), 'after Resize'),
    ],
)
def test_samples_that_cannot_be_used(change, told):
    sample = samples(1)[0]
    change(sample)
    with pytest.raises(ValueError, match=told):
        ModelStatistics(C, True).process(None, [sample])


def images(seed=0, number=40):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        label = torch.randint(0, C - 1, (1,), generator=generator)
        scores = torch.randn(C, generator=generator)
        scores[label] += 1
        yield dict(pred_score=scores.softmax(0), gt_label=label)


def test_images_of_a_classifier():
    made = list(images())
    sums = ModelStatistics(C, False)
    sums.process(None, made[:7])
    sums.process(None, made[7:])
    naive, worst = np.zeros((C, C), int), {}
    for i, sample in enumerate(made):
        confidence, best = sample['pred_score'].max(0)
        pair = int(sample['gt_label']), int(best)
        naive[pair] += 1
        if pair[0] != pair[1] and confidence > worst.get(pair, (0, 0))[0]:
            worst[pair] = float(confidence.double()), i
    assert (sums.confusion == naive).all() and sums.examples == worst
    told = model_statistics(sums, dict(many=torch.tensor([0, 1]), few=torch.tensor([2, 3])))
    assert told['scores']['accuracy'] == pytest.approx(naive.trace() / 40)
    assert told['per_class']['precision'][0] == pytest.approx(naive[0, 0] / naive[:, 0].sum())
    assert told['calibration']['overall']['number'] == 40 and 'regions' not in told


def test_images_of_several_labels_are_refused():
    sample = dict(pred_score=torch.rand(C), gt_label=torch.tensor([0, 2]))
    with pytest.raises(ValueError, match='exactly one label'):
        ModelStatistics(C, False).process(None, [sample])
