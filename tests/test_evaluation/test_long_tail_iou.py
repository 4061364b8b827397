import csv
import logging
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.registry import METRICS, DefaultScope
from mmseg.evaluation import IoUMetric

from lt_mm.evaluation import LongTailIoUMetric, group_means
from lt_mm.structures import ClassCounts, ClassGroups

PUBLISHED = Path(__file__).parents[1] / 'data' / 'ade20k_fcn_r50_ce_per_class.csv'
CLASSES = ('road', 'car', 'pole', 'sign', 'rider', 'train')
COUNTS = [50, 900, 30, 7000, 5, 80]
SIZES = (2, 2, 2)
BOTH = ('IoU', 'Acc')
FIGURES = [f'{group}_{what}' for group in ('head', 'body', 'tail') for what in BOTH]
GROUPS = {'head': [3, 1], 'body': [5, 0], 'tail': [2, 4]}


def random_maps(num_classes=6, labels=None, seed=0):
    """Five maps of different sizes; a prediction is right half of the time, a fifth is ignored."""
    rng = np.random.default_rng(seed)
    pairs = []
    for height in range(9, 14):
        truth = rng.choice(num_classes if labels is None else labels, size=(height, 11))
        other = rng.choice(num_classes if labels is None else labels, size=truth.shape)
        pred = np.where(rng.random(truth.shape) < 0.5, truth, other)
        truth[rng.random(truth.shape) < 0.2] = 255
        pairs.append((pred, truth))
    return pairs


def evaluate(metric, pairs, classes=CLASSES, **meta):
    metric.dataset_meta = dict(classes=classes, **meta)
    samples = [
        dict(
            pred_sem_seg=dict(data=torch.from_numpy(pred)[None]),
            gt_sem_seg=dict(data=torch.from_numpy(truth)[None]),
        )
        for pred, truth in pairs
    ]
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def naive(pairs, num_classes):
    """IoU and accuracy of each class in percent, None where there is none, pixel by pixel."""
    confusion = np.zeros((num_classes, num_classes), dtype=object)
    for pred, truth in pairs:
        for p, t in zip(pred.ravel().tolist(), truth.ravel().tolist()):
            if t != 255:
                confusion[t, p] += 1
    ious, accs = [], []
    for c in range(num_classes):
        right, labelled, predicted = confusion[c, c], confusion[c].sum(), confusion[:, c].sum()
        union = labelled + predicted - right
        ious.append(100 * right / union if union else None)
        accs.append(100 * right / labelled if labelled else None)
    return ious, accs


def mean_of(values, classes):
    numbers = [values[c] for c in classes if values[c] is not None]
    return sum(numbers) / len(numbers)


@pytest.fixture
def log(monkeypatch):
    lines = []
    logger = MMLogger.get_instance('test_long_tail_iou')
    monkeypatch.setattr(MMLogger, 'get_current_instance', classmethod(lambda cls: logger))
    monkeypatch.setattr(
        logger, 'log', lambda level, message, *args, **kwargs: lines.append((level, message))
    )
    return lines


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_group_numbers_equal_a_naive_confusion_matrix(seed):
    pairs = random_maps(seed=seed)
    got = evaluate(LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS), pairs)
    ious, accs = naive(pairs, 6)
    for group, classes in GROUPS.items():
        assert got[f'{group}_IoU'] == pytest.approx(mean_of(ious, classes), abs=0.00501)
        assert got[f'{group}_Acc'] == pytest.approx(mean_of(accs, classes), abs=0.00501)


@pytest.mark.parametrize('iou_metrics', [['mIoU'], ['mDice', 'mFscore']])
@pytest.mark.parametrize('nan_to_num', [None, 0])
def test_standard_numbers_are_those_of_mmseg(iou_metrics, nan_to_num):
    pairs = random_maps(labels=[0, 1, 2, 4, 5])
    arguments = dict(iou_metrics=iou_metrics, nan_to_num=nan_to_num)
    theirs = evaluate(IoUMetric(**arguments), pairs)
    ours = evaluate(
        LongTailIoUMetric(class_counts=COUNTS, groups=dict(sizes=SIZES), **arguments), pairs
    )
    assert {key: ours.pop(key) for key in theirs} == theirs
    assert list(ours) == [
        f'{g}_{what}' for g in ('head', 'body', 'tail') for what in ('IoU', 'Acc')
    ]


def test_published_ade20k_fcn_r50_table_gives_36_10_and_its_groups_by_index():
    with PUBLISHED.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith('#')))
    iou, acc = (np.array([float(row[key]) for row in rows]) for key in ('iou', 'acc'))
    groups = ClassGroups.by_sizes((20, 55, 75), by='index').split(num_classes=150)
    everything = {'all': torch.arange(150)}
    expected_iou = dict(all=36.10, head=62.53, body=38.12, tail=27.58)
    expected_acc = dict(all=45.41, head=76.88, body=48.82, tail=34.51)
    assert group_means(iou, everything | groups) == pytest.approx(expected_iou, abs=0.00501)
    assert group_means(acc, everything | groups) == pytest.approx(expected_acc, abs=0.00501)


def test_grouping_by_index_needs_no_counts(log):
    pairs = random_maps()
    got = evaluate(LongTailIoUMetric(groups=dict(sizes=(1, 2, 3), by='index')), pairs)
    ious, accs = naive(pairs, 6)
    for group, classes in {'head': [0], 'body': [1, 2], 'tail': [3, 4, 5]}.items():
        assert got[f'{group}_IoU'] == pytest.approx(mean_of(ious, classes), abs=0.00501)
        assert got[f'{group}_Acc'] == pytest.approx(mean_of(accs, classes), abs=0.00501)
    assert not [message for level, message in log if 'class_counts' in message]


def test_absent_classes_are_left_out_and_named(log):
    pairs = random_maps(labels=[0, 1, 3, 4])
    pairs[0][0][:] = 5  # predicted, never labelled: an IoU of 0 and no accuracy
    got = evaluate(LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS), pairs)
    ious, accs = naive(pairs, 6)
    assert (ious[2], accs[2], ious[5], accs[5]) == (None, None, 0, None)
    assert got['tail_IoU'] == pytest.approx(ious[4], abs=0.00501)
    assert got['tail_Acc'] == pytest.approx(accs[4], abs=0.00501)
    assert got['body_IoU'] == pytest.approx(ious[0] / 2, abs=0.00501)
    assert got['body_Acc'] == pytest.approx(accs[0], abs=0.00501)
    assert (logging.INFO, 'absent from the evaluation: pole, train') in log


@pytest.mark.parametrize('nan_to_num', [None, 0])
def test_an_absent_group_is_not_a_number_without_a_numpy_warning(log, nan_to_num):
    metric = LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS, nan_to_num=nan_to_num)
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        got = evaluate(metric, random_maps(labels=[0, 1, 3, 5]))
    assert not any(map(math.isnan, (got[f'{g}_{w}'] for g in ('head', 'body') for w in BOTH)))
    assert all(map(math.isnan, (got['tail_IoU'], got['tail_Acc'])))
    assert any('tail_IoU, tail_Acc' in message for _, message in log)


def test_a_group_only_predicted_has_an_iou_of_zero_but_no_accuracy():
    pairs = random_maps(labels=[0, 1, 3, 5])
    pairs[0][0][0] = 4
    got = evaluate(LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS), pairs)
    assert got['tail_IoU'] == 0
    assert math.isnan(got['tail_Acc'])


def test_an_evaluation_with_every_pixel_ignored_gives_no_group():
    pairs = [(pred, np.full_like(truth, 255)) for pred, truth in random_maps()]
    got = evaluate(LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS), pairs)
    assert got.keys() == {'aAcc', 'mIoU', 'mAcc', *FIGURES}
    assert all(math.isnan(got[key]) for key in FIGURES)


def test_counts_may_come_from_the_data_set_and_the_argument_wins():
    pairs = random_maps()
    by_argument = evaluate(LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS), pairs)
    by_meta = evaluate(LongTailIoUMetric(groups=dict(sizes=SIZES)), pairs, class_counts=COUNTS)
    both = LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS)
    assert by_meta == by_argument
    assert evaluate(both, pairs, class_counts=COUNTS[::-1]) == by_argument
    assert evaluate(
        LongTailIoUMetric(groups=dict(sizes=SIZES)), pairs, class_counts=COUNTS[::-1]
    ) != (by_argument)


def test_without_counts_it_warns_once_and_gives_the_standard_numbers(log):
    pairs, metric = random_maps(), LongTailIoUMetric()
    got = evaluate(metric, pairs)
    assert all(math.isnan(got.pop(key)) for key in FIGURES)
    assert got == evaluate(IoUMetric(), pairs)
    evaluate(metric, pairs)
    warned = [message for level, message in log if level == logging.WARNING and 'counts' in message]
    assert len(warned) == 1
    assert 'class_counts' in warned[0] and 'lt_mm.ClassCountsHook' in warned[0]


def test_counts_or_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match='3 classes.*has 6'):
        evaluate(LongTailIoUMetric(class_counts=[3, 2, 1]), random_maps())
    with pytest.raises(ValueError, match=r'\(20, 55, 75\)'):
        evaluate(LongTailIoUMetric(groups=dict(sizes=(20, 55, 75), by='index')), random_maps())
    with pytest.raises(ValueError, match="'frequency'"):
        LongTailIoUMetric(groups=dict(by='frequency'))
    with pytest.raises(TypeError, match='group_size'):
        LongTailIoUMetric(group_size=SIZES)
    with pytest.raises(TypeError, match=r"give groups=dict\(sizes=\(2, 2, 2\), by='index'\)"):
        LongTailIoUMetric(group_by='index', group_sizes=SIZES)


def test_groups_of_ones_own_have_their_names_and_may_leave_classes_out(log):
    pairs = random_maps()
    groups = dict(lists=dict(things=[4, 1], stuff=[0]))
    got = evaluate(LongTailIoUMetric(groups=groups), pairs)
    ious, accs = naive(pairs, 6)
    assert list(got)[-4:] == ['things_IoU', 'things_Acc', 'stuff_IoU', 'stuff_Acc']
    for group, classes in groups['lists'].items():
        assert got[f'{group}_IoU'] == pytest.approx(mean_of(ious, classes), abs=0.00501)
        assert got[f'{group}_Acc'] == pytest.approx(mean_of(accs, classes), abs=0.00501)


def test_csv_has_a_row_per_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = random_maps(labels=[0, 1, 3, 4])
    pairs[0][0][:] = 5
    metric = LongTailIoUMetric(
        groups=dict(sizes=SIZES), class_counts=COUNTS, output_csv='results/per_class.csv'
    )
    evaluate(metric, pairs)
    with open(tmp_path / 'results' / 'per_class.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    ious, accs = naive(pairs, 6)
    group_of = {c: group for group, classes in GROUPS.items() for c in classes}
    valid = [(pred[truth != 255], truth[truth != 255]) for pred, truth in pairs]
    assert len(rows) == 6
    for c, row in enumerate(rows):
        assert row['class'] == CLASSES[c]
        assert row['group'] == group_of[c]
        assert row['count'] == str(COUNTS[c])
        assert row['iou'] == ('' if ious[c] is None else f'{ious[c]:.4f}')
        assert row['acc'] == ('' if accs[c] is None else f'{accs[c]:.4f}')
        assert row['label_pixels'] == str(sum((truth == c).sum() for _, truth in valid))
        assert row['pred_pixels'] == str(sum((pred == c).sum() for pred, _ in valid))


def test_csv_without_counts_leaves_group_and_count_empty(tmp_path):
    path = tmp_path / 'per_class.csv'
    evaluate(LongTailIoUMetric(output_csv=path), random_maps())
    with path.open(newline='') as file:
        assert {(row['group'], row['count']) for row in csv.DictReader(file)} == {('', '')}


def test_areas_are_summed_exactly_above_two_to_the_24(tmp_path):
    metric = LongTailIoUMetric(output_csv=tmp_path / 'per_class.csv')
    metric.dataset_meta = dict(classes=('road', 'pole'))
    big, one = torch.tensor([2.0**24, 1.0]), torch.tensor([1.0, 1.0])
    metric.compute_metrics([(area,) * 4 for area in (big, one, one, one)])
    with (tmp_path / 'per_class.csv').open(newline='') as file:
        road = next(csv.DictReader(file))
    assert sum([big, one, one, one])[0] == 2**24
    assert road['label_pixels'] == road['pred_pixels'] == str(2**24 + 3)


def test_format_only_gives_nothing(tmp_path):
    metric = LongTailIoUMetric(format_only=True, output_dir=str(tmp_path / 'masks'))
    metric.dataset_meta = dict(classes=CLASSES)
    assert metric.compute_metrics([]) == {}


def test_builds_from_a_config_and_evaluates_under_scope_mmseg():
    config = dict(type='lt_mm.LongTailIoUMetric', groups=dict(sizes=SIZES, by='index'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert type(METRICS.build(config)) is LongTailIoUMetric
        evaluator = Evaluator(config)
    evaluator.dataset_meta = dict(classes=CLASSES)
    prediction, truth = (torch.arange(6).repeat(3, 1)[None] for _ in range(2))
    evaluator.process([dict(pred_sem_seg=dict(data=prediction), gt_sem_seg=dict(data=truth))])
    assert evaluator.evaluate(1)['tail_Acc'] == 100


def test_checkpoint_hook_knows_that_more_is_better():
    assert CheckpointHook(save_best='tail_Acc').rules == ['greater']
    assert CheckpointHook(save_best=['tail_IoU', 'own_IoU']).rules == ['greater'] * 2


def test_the_log_shows_group_and_count_of_each_class_once(log):
    metric = LongTailIoUMetric(groups=dict(sizes=SIZES), class_counts=COUNTS)
    for _ in range(2):
        evaluate(metric, random_maps())
    (table,) = [message for _, message in log if message.startswith('groups of classes')]
    for name, group, count in zip(
        CLASSES, ('body', 'head', 'tail', 'head', 'tail', 'body'), COUNTS
    ):
        assert re.search(rf'\| {name} +\| {group} +\| +{count} \|', table)


def test_counts_of_the_same_classes_in_another_order_are_put_in_order():
    turned = ClassCounts(COUNTS[::-1], CLASSES[::-1], 'pixels')
    pairs, groups = random_maps(), dict(sizes=SIZES)
    expected = evaluate(LongTailIoUMetric(groups=groups, class_counts=COUNTS), pairs)
    assert evaluate(LongTailIoUMetric(groups=groups, class_counts=turned), pairs) == expected
    assert evaluate(LongTailIoUMetric(groups=groups), pairs, class_counts=turned) == expected
    other = ClassCounts(COUNTS, [*CLASSES[:5], 'tram'], 'pixels')
    with pytest.raises(ValueError, match="of other classes.*'tram' stands where.*'tr"):
        evaluate(LongTailIoUMetric(class_counts=other), pairs)


@pytest.mark.parametrize('num_classes', [2, 7, 150, 10_000])
def test_usual_groups_have_the_most_frequent_class_in_the_head(num_classes):
    counts = [10**6 // (c + 1) ** 2 + 1 for c in range(num_classes)]
    groups = LongTailIoUMetric(class_counts=counts).classes.split(ClassCounts(counts), num_classes)
    assert 0 in groups['head'].tolist()
    assert num_classes - 1 in groups['tail'].tolist() or num_classes == 2
