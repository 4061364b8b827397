import json
import logging
import math

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.registry import METRICS, DefaultScope
from mmengine.structures import PixelData
from mmpretrain.models import LinearClsHead
from mmpretrain.structures import DataSample
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.evaluation import CalibrationError, calibration_error
from lt_mm.structures import ClassCounts

COUNTS = [500, 200, 50, 10, 5]
KEYS = ['ECE', 'MCE', 'classwise_ECE', 'NLL', 'Brier']


def naive(p, y, num_bins=15):
    """The five figures with numpy, p (N, C) and y (N,)."""
    p = np.asarray(p, np.float64)
    edges = np.linspace(0, 1, num_bins + 1)

    def gaps(confidence, right):
        where = np.maximum(np.digitize(confidence, edges, right=True), 1)
        for b in range(1, num_bins + 1):
            if (where == b).any():
                gap = abs(confidence[where == b].mean() - right[where == b].mean())
                yield (where == b).mean(), gap

    top = list(gaps(p.max(1), p.argmax(1) == y))
    classwise = [sum(w * g for w, g in gaps(p[:, c], y == c)) for c in range(p.shape[1])]
    return dict(
        ECE=100 * sum(w * g for w, g in top),
        MCE=100 * max(g for _, g in top),
        classwise_ECE=100 * np.mean(classwise),
        NLL=-np.log(p[np.arange(len(y)), y]).mean(),
        Brier=((p - np.eye(p.shape[1])[y]) ** 2).sum(1).mean(),
    )


def images(number=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(5, (number,), generator=generator)
    logits = 2 * torch.randn(number, 5, generator=generator) + 2 * torch.eye(5)[truth]
    return logits.softmax(dim=1), truth


def maps(number=3, seed=0, classes=5):
    """Logits and labels of images of several sizes, a third of the pixels to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    for index in range(number):
        size = (6 + index, 9)
        truth = torch.randint(classes, size, generator=generator)
        logits = 2 * torch.randn(classes, *size, generator=generator)
        truth.flatten()[::3] = 255
        yield logits, truth


def image_samples(scores, truth):
    return [dict(pred_score=s, gt_label=t[None]) for s, t in zip(scores, truth)]


def map_sample(logits, truth):
    return dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=truth[None]))


def flat(pairs, activation=lambda logits: logits.double().softmax(0)):
    p = torch.cat([activation(logits).flatten(1).T for logits, _ in pairs])
    y = torch.cat([truth.flatten() for _, truth in pairs])
    return p[y != 255].numpy(), y[y != 255].numpy()


def evaluate(metric, data, batch=32, **meta):
    """The figures that are numbers."""
    figures = evaluate_all(metric, data, batch, **meta)
    return {key: value for key, value in figures.items() if not math.isnan(value)}


def evaluate_all(metric, data, batch=32, **meta):
    metric.dataset_meta = meta
    for start in range(0, len(data), batch):
        metric.process({}, data[start : start + batch])
    result = metric.evaluate(len(data))
    assert all(key.startswith('calibration/') for key in result)
    return {key.removeprefix('calibration/'): value for key, value in result.items()}


@pytest.fixture
def log(monkeypatch):
    lines = []
    logger = MMLogger.get_instance('test_calibration_error')
    monkeypatch.setattr(MMLogger, 'get_current_instance', classmethod(lambda cls: logger))
    monkeypatch.setattr(
        logger, 'log', lambda level, message, *args, **kwargs: lines.append((level, message))
    )
    return lines


@pytest.mark.parametrize('num_bins', [15, 4])
@pytest.mark.parametrize('batch', [1, 32, 1000])
def test_images_as_numpy_has_it(num_bins, batch):
    scores, truth = images()
    got = evaluate(CalibrationError(num_bins=num_bins), image_samples(scores, truth), batch)
    assert list(got) == KEYS
    assert got == pytest.approx(naive(scores, truth.numpy(), num_bins), abs=1e-9)


@pytest.mark.parametrize('at_once', [2**22, 60])
def test_pixels_as_numpy_has_it_without_those_ignored(at_once, monkeypatch):
    monkeypatch.setattr(calibration_error, 'AT_ONCE', at_once)
    pairs = list(maps())
    got = evaluate(CalibrationError(), [map_sample(*pair) for pair in pairs], batch=2)
    assert got == pytest.approx(naive(*flat(pairs)), abs=1e-9)


def test_another_label_may_be_ignored():
    pairs = [(logits, truth.where(truth != 255, 7)) for logits, truth in maps()]
    got = evaluate(CalibrationError(ignore_index=7), [map_sample(*pair) for pair in pairs])
    assert got == pytest.approx(naive(*flat(list(maps()))), abs=1e-9)
    with pytest.raises(ValueError, match='label 7 reached calibration'):
        evaluate(CalibrationError(), [map_sample(*pair) for pair in pairs])


def test_an_image_that_is_all_ignored_adds_nothing_and_nothing_else_gives_no_figure():
    pairs = list(maps())
    blank = (torch.randn(5, 4, 4), torch.full((4, 4), 255))
    with_blank = [map_sample(*pair) for pair in (blank, *pairs, blank)]
    assert evaluate(CalibrationError(), with_blank) == pytest.approx(naive(*flat(pairs)), abs=1e-9)
    assert evaluate(CalibrationError(), [map_sample(*blank)]) == {}
    assert CalibrationError().evaluate(0) == {}


@pytest.mark.parametrize('activation', ['sigmoid', 'sum', 'none'])
def test_scores_that_are_no_logits(activation):
    pairs = list(maps())
    if activation == 'sum':
        pairs = [(logits.exp(), truth) for logits, truth in pairs]
    if activation == 'none':
        pairs = [(logits.softmax(0), truth) for logits, truth in pairs]

    def probabilities(scores):
        scores = scores.double()
        if activation == 'sigmoid':
            scores = 1 / (1 + (-scores).exp())
        return scores if activation == 'none' else scores / scores.sum(0)

    got = evaluate(CalibrationError(activation=activation), [map_sample(*pair) for pair in pairs])
    assert got == pytest.approx(naive(*flat(pairs, probabilities)), abs=1e-9)


def test_the_one_output_of_a_binary_segmentor_is_the_probability_of_the_second_class():
    pairs = [(logits.sigmoid(), truth) for logits, truth in maps(classes=1)]
    pairs = [(p, torch.where((truth == 0) & (p[0] > 0.7), 1, truth)) for p, truth in pairs]
    got = evaluate(CalibrationError(), [map_sample(*pair) for pair in pairs])
    both = [(torch.cat([1 - p, p]), truth) for p, truth in pairs]
    assert got == pytest.approx(naive(*flat(both, lambda p: p.double())), abs=1e-6)


def test_half_precision_logits():
    pairs = [(logits.half(), truth) for logits, truth in maps()]
    got = evaluate(CalibrationError(), [map_sample(*pair) for pair in pairs])
    assert got == pytest.approx(naive(*flat(pairs)), abs=1e-9)


def test_pixels_without_a_score_are_left_out_with_a_warning(log):
    damaged, pairs = list(maps()), list(maps())
    damaged[0][0][2, 0] = torch.nan
    lost = (damaged[0][1][0] != 255).sum().item()
    pairs[0][1][0] = 255
    got = evaluate(CalibrationError(), [map_sample(*pair) for pair in damaged])
    assert got == pytest.approx(naive(*flat(pairs)), abs=1e-9)
    (message,) = [message for level, message in log if level == logging.WARNING]
    assert f'left out {lost} pixels' in message


def test_only_nan_gives_nothing(log):
    scores, truth = images(4)
    assert evaluate(CalibrationError(), image_samples(scores * torch.nan, truth)) == {}


def test_groups_go_by_the_label_and_by_the_training_counts():
    scores, truth = images()
    data = image_samples(scores, truth)
    got = evaluate(CalibrationError(class_counts=COUNTS), data)
    for group, members in dict(many=[0, 1], medium=[2], few=[3, 4]).items():
        inside = np.isin(truth, members)
        expected = naive(scores[inside], truth.numpy()[inside])['ECE']
        assert got[f'{group}_ECE'] == pytest.approx(expected, abs=1e-9)
    assert evaluate(CalibrationError(), data, class_counts=COUNTS) == got
    moved = evaluate(
        CalibrationError(class_counts=COUNTS, groups=dict(many_above=400, few_below=300)), data
    )
    assert moved.keys() == got.keys() - {'medium_ECE'} and moved['few_ECE'] != got['few_ECE']
    with pytest.raises(ValueError, match='CalibrationError has 5'):
        evaluate(CalibrationError(class_counts=[1, 2]), data)


def test_groups_of_pixels_are_head_body_and_tail():
    pairs = list(maps())
    data = [map_sample(*pair) for pair in pairs]
    p, y = flat(pairs)
    for arguments in (
        dict(class_counts=ClassCounts(COUNTS[::-1], unit='pixels')),
        dict(class_counts=COUNTS, by='index'),
        dict(by='index'),
    ):
        by = arguments.pop('by', 'counts')
        metric = CalibrationError(groups=dict(sizes=(1, 2, 2), by=by), **arguments)
        got = evaluate(metric, data)
        order = [0, 1, 2, 3, 4] if by == 'index' else [4, 3, 2, 1, 0]
        for group, members in dict(head=order[:1], body=order[1:3], tail=order[3:]).items():
            inside = np.isin(y, members)
            expected = naive(p[inside], y[inside])['ECE']
            assert got[f'{group}_ECE'] == pytest.approx(expected, abs=1e-9)


def test_a_group_without_an_element_is_not_a_number():
    scores, truth = images()
    kept = truth < 3
    data = image_samples(scores[kept], truth[kept])
    got = evaluate_all(CalibrationError(class_counts=COUNTS), data)
    without_counts = evaluate_all(CalibrationError(), data)
    assert list(without_counts) == list(got)
    assert all(math.isnan(without_counts[f'{group}_ECE']) for group in ('many', 'medium', 'few'))
    assert math.isnan(got['few_ECE']) and got['many_ECE'] >= 0


def test_json_has_the_bins(tmp_path):
    scores, truth = images()
    path = tmp_path / 'new' / 'bins.json'
    got = evaluate(CalibrationError(output_json=path, num_bins=10), image_samples(scores, truth))
    content = json.loads(path.read_text())
    assert content['unit'] == 'images' and content['number'] == 150 and content['left_out'] == 0
    assert {key: content['metrics'][key] for key in got} == got
    confidence, right = scores.double().max(1).values, scores.argmax(1) == truth
    assert content['metrics']['accuracy'] == pytest.approx(100 * right.double().mean().item())
    assert content['metrics']['confidence'] == pytest.approx(100 * confidence.mean().item())
    assert len(content['bins']) == 10
    for b, row in enumerate(content['bins']):
        assert (row['from'], row['to']) == (b / 10, (b + 1) / 10)
        inside = (confidence > b / 10) & (confidence <= (b + 1) / 10)
        assert row['count'] == inside.sum()
        if not row['count']:
            assert row['confidence'] is row['accuracy'] is None
            continue
        assert row['confidence'] == pytest.approx(confidence[inside].mean().item())
        assert row['accuracy'] == pytest.approx(right[inside].double().mean().item())
    assert content['bins'][0]['count'] == 0


def test_a_second_evaluation_starts_anew():
    metric, data = CalibrationError(), image_samples(*images())
    assert evaluate(metric, data) == evaluate(metric, data)
    assert evaluate(metric, image_samples(*images(seed=1))) != evaluate(metric, data)


def test_works_on_the_predictions_of_mmpretrains_heads():
    torch.manual_seed(0)
    head = LinearClsHead(num_classes=5, in_channels=4)
    features, truth = 9 * torch.randn(60, 4), torch.arange(60) % 5
    labelled = [DataSample().set_gt_label(label) for label in truth]
    with torch.no_grad():
        predictions = head.predict((features,), labelled)
        scores = head((features,)).softmax(dim=1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert type(METRICS.build(dict(type='lt_mm.CalibrationError'))) is CalibrationError
        evaluator = Evaluator([dict(type='lt_mm.CalibrationError'), dict(type='Accuracy')])
    evaluator.dataset_meta = dict(classes=tuple('abcde'))
    evaluator.process(predictions)
    got = evaluator.evaluate(60)
    for key, value in naive(scores, truth.numpy()).items():
        assert got[f'calibration/{key}'] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize('outputs', [5, 1])
def test_works_on_the_predictions_of_mmseg(outputs):
    """The logits that mmseg leaves in a sample have the size of the original image."""
    torch.manual_seed(0)
    classes = max(outputs, 2)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(
            dict(
                type='EncoderDecoder',
                backbone=dict(
                    type='ResNet',
                    depth=18,
                    base_channels=4,
                    stem_channels=4,
                    num_stages=1,
                    strides=(1,),
                    dilations=(1,),
                    out_indices=(0,),
                    norm_cfg=dict(type='BN'),
                ),
                decode_head=dict(
                    type='FCNHead',
                    in_channels=4,
                    channels=4,
                    num_classes=classes,
                    out_channels=outputs,
                    num_convs=0,
                    concat_input=False,
                    align_corners=False,
                    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=outputs == 1),
                ),
                test_cfg=ConfigDict(mode='whole'),
            )
        ).eval()
        assert isinstance(model, EncoderDecoder)
        evaluator = Evaluator(dict(type='lt_mm.CalibrationError'))
    with torch.no_grad():
        model.decode_head.conv_seg.weight.mul_(100)
    sample = SegDataSample(metainfo=dict(ori_shape=(20, 24), img_shape=(32, 32)))
    truth = torch.randint(classes, (20, 24))
    sample.gt_sem_seg = PixelData(data=truth[None])
    with torch.no_grad():
        (predicted,) = model.predict(torch.randn(1, 3, 32, 32), [sample])
    logits = predicted.seg_logits.data
    assert logits.shape == (outputs, 20, 24)
    p = torch.cat([1 - logits, logits]) if outputs == 1 else logits.double().softmax(0)
    prediction = predicted.pred_sem_seg.data[0]
    if outputs == 5:
        assert p.argmax(0).equal(prediction)
    evaluator.dataset_meta = dict(classes=tuple('abcde'[:classes]))
    evaluator.process([predicted])
    got = evaluator.evaluate(1)
    for key, value in naive(*flat([(p, truth)], lambda p: p)).items():
        assert got[f'calibration/{key}'] == pytest.approx(value, abs=1e-5)


def test_what_does_not_fit_is_named():
    for arguments, message in (
        (dict(num_bins=0), 'num_bins of CalibrationError is 0'),
        (dict(activation='relu'), "'relu': choose from softmax"),
        (dict(groups=dict(by='size')), "'size'"),
        (dict(groups=dict(many_above=20, few_below=30)), 'few_below is 30'),
    ):
        with pytest.raises(ValueError, match=message):
            CalibrationError(**arguments)
    with pytest.raises(TypeError, match=r'give groups=dict\(many_above=40, few_below=10\)'):
        CalibrationError(many_above=40, few_below=10)
    scores, truth = images(3)
    for sample in (
        dict(pred_score=scores[0]),
        dict(pred_score=scores[0], gt_label=truth[:2]),
    ):
        with pytest.raises(ValueError, match='without exactly one gt_label'):
            CalibrationError().process({}, [sample])
    logits, labels = next(maps())
    for sample in (dict(gt_label=truth[:1]), dict(seg_logits=dict(data=logits))):
        with pytest.raises(ValueError, match='without seg_logits or gt_sem_seg'):
            CalibrationError().process({}, [sample])
    with pytest.raises(ValueError, match=r'seg_logits of \(6, 9\) pixels and labels of \(3, 9\)'):
        CalibrationError().process({}, [map_sample(logits, labels[:3])])
    with pytest.raises(ValueError, match='give probabilities'):
        CalibrationError().process({}, image_samples(10 * scores, truth))


def test_checkpoint_hook_is_told_that_less_is_better():
    figures = ('ECE', 'MCE', 'classwise_ECE', 'NLL', 'Brier', 'few_ECE', 'tail_ECE')
    hook = CheckpointHook(save_best=[f'calibration/{figure}' for figure in figures])
    assert hook.rules == ['less'] * len(figures)


@pytest.mark.parametrize('last', [0, 1])
def test_views_of_test_time_augmentation_give_no_figure(last, log):
    """mmseg leaves the scores of the last view beside the prediction merged of all."""
    first, second = torch.tensor([[[4.0]], [[0.0]]]), torch.tensor([[[0.0]], [[9.0]]])
    merged = (first.softmax(0) + second.softmax(0)).argmax(0)[None]
    sample = dict(
        seg_logits=dict(data=(first, second)[last]),
        pred_sem_seg=dict(data=merged),
        gt_sem_seg=dict(data=torch.zeros(1, 1, 1, dtype=torch.int64)),
    )
    views = dict(inputs=[[torch.zeros(3, 1, 1)], [torch.zeros(3, 1, 1)]])
    metric = CalibrationError()
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process(views, [sample])
    metric.process(views, [sample])
    assert metric.evaluate(2) == {}
    (message,) = [message for _, message in log if 'no figures' in message]
    assert 'merges the views of test-time augmentation without their scores' in message
    metric.process(dict(inputs=[torch.zeros(3, 1, 1)]), [dict(sample, pred_sem_seg=dict(
        data=sample['seg_logits']['data'].argmax(0)[None]))])  # fmt: skip
    assert metric.evaluate(1)


def test_scores_of_another_prediction_are_noticed_without_the_batch(log):
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]])
    truth = torch.zeros(1, 1, 2, dtype=torch.int64)
    metric = CalibrationError()
    metric.dataset_meta = dict(classes=('a', 'b'))
    same = dict(data=logits.argmax(0)[None])
    other = dict(data=1 - logits.argmax(0)[None])
    sample = dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=truth))
    metric.process({}, [dict(sample, pred_sem_seg=same), dict(sample, pred_sem_seg=other)])
    assert metric.evaluate(2) == {}
    metric.process({}, [dict(sample, pred_sem_seg=same)])
    assert metric.evaluate(1)['calibration/ECE'] > 0


@pytest.mark.parametrize(
    ('scores', 'activation', 'message'),
    [
        ([0.2, 0.2], None, 'sum to 0.4 over classes'),
        ([0.9, 0.8], 'none', 'sum to 1.7 over classes'),
        ([0.0, 0.0], None, 'sum to 0 over classes'),
        ([-1.0, 2.0], 'sum', 'the score -1'),
        ([-1.0, -3.0], 'sum', 'the score -1|the score -3'),
        ([2.0, -1.0], None, 'give probabilities'),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(scores, activation, message):
    sample = dict(pred_score=torch.tensor(scores), gt_label=torch.tensor([0]))
    with pytest.raises(ValueError, match=message):
        CalibrationError(activation=activation).process({}, [sample])


def test_probabilities_of_half_precision_are_taken():
    scores = torch.randn(5, 1000).softmax(1).half()
    truth = torch.zeros(5, dtype=torch.int64)
    assert evaluate(CalibrationError(), image_samples(scores, truth))['ECE'] >= 0
