import csv
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.registry import METRICS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import LinearClsHead
from mmpretrain.structures import DataSample
from PIL import Image

from lt_mm.evaluation import ExpertAccuracy, LongTailAccuracy
from lt_mm.structures import ClassCounts

CONFIG = Path(__file__).parents[1] / 'data' / 'tiny_classification.py'
CLASSES = ('owl', 'cat', 'elk', 'ant', 'bee', 'cod', 'dog')
COUNTS = [100, 5, 2000, 19, 101, 20, 0]
GROUPS = {'many': [2, 4], 'medium': [0, 5], 'few': [1, 3, 6]}
KEYS = ['top1', 'top5', 'many', 'medium', 'few', 'macro', 'harmonic', 'worst']


def random_batch(labels=range(7), number=200, seed=0, outputs=7):
    """Scores that are right about half of the time, and labels that are not balanced."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(list(labels), size=number)
    scores = generator.random((number, outputs))
    scores[np.arange(number), truth] += 0.4
    return torch.from_numpy(scores).float(), torch.from_numpy(truth)


def samples(scores, truth):
    return [dict(pred_score=s, gt_label=t[None]) for s, t in zip(scores, truth)]


def evaluate(metric, batch, classes=CLASSES, **meta):
    metric.dataset_meta = dict(classes=classes, **meta) if classes else meta
    data = batch if isinstance(batch, list) else samples(*batch)
    for start in range(0, len(data), 64):
        metric.process({}, data[start : start + 64])
    result = metric.evaluate(len(data))
    assert all(key.startswith('accuracy/') for key in result)
    return {key.removeprefix('accuracy/'): value for key, value in result.items()}


def naive(scores, truth, groups=GROUPS, num_classes=7):
    """Every figure image by image; a class without images has no accuracy."""
    right, seen, top1, top5 = [0] * num_classes, [0] * num_classes, 0, 0
    for score, label in zip(scores.tolist(), truth.tolist()):
        ranking = sorted(range(len(score)), key=lambda c: -score[c])
        seen[label] += 1
        right[label] += ranking[0] == label
        top1 += ranking[0] == label
        top5 += label in ranking[:5]
    accuracy = [100 * r / s if s else None for r, s in zip(right, seen)]
    known = [a for a in accuracy if a is not None]
    figures = dict(top1=100 * top1 / len(truth), top5=100 * top5 / len(truth))
    for group, classes in groups.items():
        numbers = [accuracy[c] for c in classes if accuracy[c] is not None]
        if numbers:
            figures[group] = sum(numbers) / len(numbers)
    figures['macro'] = sum(known) / len(known)
    figures['harmonic'] = 0 if 0 in known else len(known) / sum(1 / a for a in known)
    figures['worst'] = min(known)
    return figures, accuracy


@pytest.fixture
def log(monkeypatch):
    lines = []
    logger = MMLogger.get_instance('test_long_tail_accuracy')
    monkeypatch.setattr(MMLogger, 'get_current_instance', classmethod(lambda cls: logger))
    monkeypatch.setattr(
        logger, 'log', lambda level, message, *args, **kwargs: lines.append((level, message))
    )
    return lines


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_every_figure_equals_a_naive_count(seed):
    batch = random_batch(labels=[0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 6], seed=seed)
    got = evaluate(LongTailAccuracy(class_counts=COUNTS), batch)
    assert list(got) == KEYS
    assert got == pytest.approx(naive(*batch)[0], abs=1e-9)
    assert 0 < got['harmonic'] < got['macro'] and got['worst'] > 0


def test_top1_and_top5_are_those_of_mmpretrain():
    batch = random_batch()
    theirs = evaluate(Accuracy(topk=(1, 5), thrs=None), batch)
    ours = evaluate(LongTailAccuracy(class_counts=COUNTS), batch)
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, rel=1e-6)


def test_the_order_of_the_classes_changes_nothing():
    scores, truth = random_batch()
    order = torch.tensor([3, 6, 0, 5, 1, 2, 4])  # new class k is old class order[k]
    moved = scores[:, order], order.argsort()[truth]
    plain = evaluate(LongTailAccuracy(class_counts=COUNTS), (scores, truth))
    counts = [COUNTS[c] for c in order]
    assert evaluate(LongTailAccuracy(class_counts=counts), moved) == pytest.approx(plain)


def test_thresholds_are_arguments():
    batch = random_batch()
    got = evaluate(
        LongTailAccuracy(class_counts=COUNTS, groups=dict(many_above=19, few_below=6)), batch
    )
    groups = dict(many=[0, 2, 4, 5], medium=[3], few=[1, 6])
    assert got == pytest.approx(naive(*batch, groups=groups)[0], abs=1e-9)
    with pytest.raises(ValueError, match='few_below is 30 and many_above 20'):
        LongTailAccuracy(groups=dict(many_above=20, few_below=30))
    for metric in (LongTailAccuracy, ExpertAccuracy):
        with pytest.raises(TypeError, match=rf'{metric.__name__} .* groups=dict\(few_below=10\)'):
            metric(few_below=10)


def test_on_a_balanced_test_set_a_group_is_the_accuracy_over_its_images():
    scores, _ = random_batch(number=210)
    truth = torch.arange(7).repeat(30)
    got = evaluate(LongTailAccuracy(class_counts=COUNTS), (scores, truth))
    for group, classes in GROUPS.items():
        inside = torch.isin(truth, torch.tensor(classes))
        right = scores[inside].argmax(dim=1) == truth[inside]
        assert got[group] == pytest.approx(100 * right.double().mean().item())
    assert got['macro'] == pytest.approx(got['top1'])


def test_classes_without_a_test_image_drop_out_and_are_named(log):
    batch = random_batch(labels=[0, 1, 2, 5])
    batch[0][:20, 3] = 9  # predicted, never labelled
    got = evaluate(LongTailAccuracy(class_counts=COUNTS), batch)
    figures, accuracy = naive(*batch)
    assert [c for c in range(7) if accuracy[c] is None] == [3, 4, 6]
    assert got == pytest.approx(figures, abs=1e-9)
    assert got['worst'] > 0
    assert (logging.INFO, 'absent from the evaluation: ant, bee, dog') in log


@pytest.mark.parametrize(
    'labels, counts, missing',
    [([0, 2, 4, 5], COUNTS, ['few']), (range(7), [500] * 7, ['medium', 'few'])],
)
def test_an_empty_group_is_not_a_number_and_not_zero(log, labels, counts, missing):
    got = evaluate(LongTailAccuracy(class_counts=counts), random_batch(labels=labels))
    assert list(got) == list(KEYS)
    assert [key for key in got if math.isnan(got[key])] == missing
    assert (logging.INFO, f'no class to average, not a number: {", ".join(missing)}') in log


def test_of_many_absent_classes_thirty_are_named(log):
    batch = random_batch(labels=[0, 1], outputs=50)
    evaluate(LongTailAccuracy(class_counts=[5] * 50), batch, classes=[f'k{c}' for c in range(50)])
    (message,) = [message for _, message in log if message.startswith('absent')]
    assert message.endswith('k30, k31 and 18 more')


def test_a_class_never_recognised_makes_worst_and_harmonic_zero():
    scores, truth = random_batch()
    scores[truth == 3] = torch.eye(7)[0]
    got = evaluate(LongTailAccuracy(class_counts=COUNTS), (scores, truth))
    assert got['worst'] == got['harmonic'] == 0 < got['few']


def test_scores_that_are_nan_are_wrong_for_every_class():
    scores, truth = random_batch()
    got = evaluate(
        LongTailAccuracy(class_counts=COUNTS), (torch.full_like(scores, torch.nan), truth)
    )
    assert set(got.values()) == {0}


def test_with_labels_alone_there_is_no_top5():
    scores, truth = random_batch()
    data = [dict(pred_label=s.argmax()[None], gt_label=t[None]) for s, t in zip(scores, truth)]
    got = evaluate(LongTailAccuracy(class_counts=COUNTS), data)
    figures, _ = naive(scores, truth)
    figures['top5'] = math.nan
    assert got == pytest.approx(figures, abs=1e-9, nan_ok=True)


def test_of_four_classes_there_is_no_top5_and_of_five_there_is():
    counts = [200, 150, 30, 5, 5]
    four = evaluate(
        LongTailAccuracy(class_counts=counts[:4]), random_batch(range(4), outputs=4), None
    )
    five = evaluate(LongTailAccuracy(class_counts=counts), random_batch(range(5), outputs=5), None)
    assert math.isnan(four['top5']) and four['top1'] > 0
    assert five['top5'] == 100


def test_one_class():
    got = evaluate(LongTailAccuracy(class_counts=[7]), random_batch([0], outputs=1), ('a',))
    known = {key: value for key, value in got.items() if not math.isnan(value)}
    assert known == dict(top1=100, few=100, macro=100, harmonic=100, worst=100)


def test_a_model_with_outputs_for_other_classes_is_wrong_where_it_predicts_them(tmp_path):
    scores, truth = random_batch(outputs=9)
    scores[::2, 8] = 9
    csv_path = tmp_path / 'per_class.csv'
    got = evaluate(LongTailAccuracy(class_counts=COUNTS, output_csv=csv_path), (scores, truth))
    assert got == pytest.approx(naive(scores, truth)[0], abs=1e-9)
    with csv_path.open(newline='') as file:
        predicted = sum(int(row['pred_images']) for row in csv.DictReader(file))
    assert predicted == (scores.argmax(dim=1) < 7).sum() < len(truth)


def test_counts_come_from_the_argument_first_and_else_from_the_data_set(tmp_path):
    batch = random_batch()
    by_argument = evaluate(LongTailAccuracy(class_counts=COUNTS), batch)
    by_meta = evaluate(LongTailAccuracy(), batch, class_counts=COUNTS)
    both = evaluate(LongTailAccuracy(class_counts=COUNTS), batch, class_counts=COUNTS[::-1])
    assert by_argument == by_meta == both
    assert evaluate(LongTailAccuracy(), batch, class_counts=COUNTS[::-1]) != by_argument
    ClassCounts(COUNTS, CLASSES).save(tmp_path / 'counts.json')
    for given in (tmp_path / 'counts.json', ClassCounts(COUNTS)):
        assert evaluate(LongTailAccuracy(class_counts=given), batch) == by_argument


def test_without_counts_it_warns_once_and_leaves_the_groups_out(log):
    metric = LongTailAccuracy()
    for _ in range(2):
        got = evaluate(metric, random_batch())
        assert list(got) == list(KEYS)
        assert [key for key in got if math.isnan(got[key])] == list(GROUPS)
    warned = [message for level, message in log if level == logging.WARNING and 'counts' in message]
    assert len(warned) == 1
    assert 'class_counts' in warned[0] and 'lt_mm.ClassCountsHook' in warned[0]


def test_a_data_set_without_class_names_has_those_of_the_counts_or_numbers(tmp_path):
    def names(**arguments):
        metric = LongTailAccuracy(output_csv=tmp_path / 'per_class.csv', **arguments)
        evaluate(metric, random_batch(), classes=None)
        with (tmp_path / 'per_class.csv').open(newline='') as file:
            return [row['class'] for row in csv.DictReader(file)]

    assert names(class_counts=ClassCounts(COUNTS, CLASSES)) == list(CLASSES)
    assert names(class_counts=COUNTS) == names() == list('0123456')


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match='3 classes.*LongTailAccuracy has 7'):
        evaluate(LongTailAccuracy(class_counts=[3, 2, 1]), random_batch())
    scores, truth = random_batch()
    for wrong in (7, -1):
        truth[5] = wrong
        with pytest.raises(ValueError, match=f'label {wrong} is not one of the 7 classes'):
            evaluate(LongTailAccuracy(class_counts=COUNTS), (scores, truth))
    for label in (dict(gt_label=torch.tensor([1, 2])), dict()):
        with pytest.raises(ValueError, match='without exactly one gt_label'):
            LongTailAccuracy().process({}, [dict(pred_score=torch.rand(7), **label)])


def test_no_image_at_all_gives_nothing():
    assert LongTailAccuracy().evaluate(0) == {}


def test_csv_has_a_row_per_class_and_the_table_shows_it(tmp_path, log):
    scores, truth = random_batch(labels=[0, 1, 2, 5])
    path = tmp_path / 'results' / 'per_class.csv'
    metric = LongTailAccuracy(class_counts=COUNTS, output_csv=path, show_table=True)
    classes = ('[bold]owl', *CLASSES[1:])
    evaluate(metric, (scores, truth), classes)
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    accuracy = naive(scores, truth)[1]
    group_of = {c: group for group, members in GROUPS.items() for c in members}
    predicted = scores.argmax(dim=1)
    assert rows == [
        {
            'class': classes[c],
            'group': group_of[c],
            'count': str(COUNTS[c]),
            'acc': '' if accuracy[c] is None else f'{accuracy[c]:.4f}',
            'label_images': str((truth == c).sum().item()),
            'pred_images': str((predicted == c).sum().item()),
        }
        for c in range(7)
    ]
    (table,) = [message for _, message in log if message.startswith('per class:')]
    shown = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    assert all(list(row.values()) in shown for row in rows)


def test_works_on_the_predictions_of_mmpretrains_heads():
    torch.manual_seed(0)
    head = LinearClsHead(num_classes=7, in_channels=4)
    features, truth = torch.randn(60, 4), torch.arange(60) % 7
    labelled = [DataSample().set_gt_label(label) for label in truth]
    with torch.no_grad():
        predictions = head.predict((features,), labelled)
        scores = head((features,)).softmax(dim=1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        config = dict(type='lt_mm.LongTailAccuracy', class_counts=COUNTS)
        assert type(METRICS.build(config)) is LongTailAccuracy
        evaluator = Evaluator([config, dict(type='Accuracy', topk=1, prefix='theirs')])
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process(predictions)
    got = evaluator.evaluate(60)
    assert got.pop('theirs/top1') == pytest.approx(got['accuracy/top1'], rel=1e-6)
    expected = {f'accuracy/{key}': value for key, value in naive(scores, truth)[0].items()}
    assert got == pytest.approx(expected, abs=1e-9)


def test_checkpoint_hook_knows_that_more_is_better():
    for key in KEYS:
        assert CheckpointHook(save_best=f'accuracy/{key}').rules == ['greater']


def test_a_training_brings_the_counts_and_keeps_the_best_few_shot_checkpoint(tmp_path):
    generator = np.random.default_rng(0)
    for name, number in dict(rare=2, usual=4).items():
        (tmp_path / 'data' / name).mkdir(parents=True)
        for index in range(number):
            pixels = generator.integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'data' / name / f'{index}.png')
    cfg = Config.fromstring(CONFIG.read_text().replace('DATA', str(tmp_path / 'data')), '.py')
    cfg.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'),
            val_dataloader=cfg.test_dataloader,
            val_evaluator=dict(
                type='lt_mm.LongTailAccuracy', groups=dict(many_above=3, few_below=3)
            ),
            val_cfg=dict(),
            custom_hooks=[dict(type='lt_mm.ClassCountsHook')],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='accuracy/few')),
        )
    )
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg.pop(key)
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = runner.message_hub.log_scalars
    assert {'val/accuracy/many', 'val/accuracy/few'} <= logged.keys()
    assert math.isnan(logged['val/accuracy/medium'].data[0][0])
    assert list((tmp_path / 'run').glob('best_accuracy_few_epoch_1.pth'))
