"""ExpertAccuracy: each expert's figures are those of LongTailAccuracy on its scores alone."""

import pytest
import torch
from mmengine.registry import METRICS, init_default_scope

from lt_mm.evaluation import ExpertAccuracy, LongTailAccuracy

COUNTS = [500, 50, 50, 5, 5]


def predictions(number, experts=3):
    """Images with scores of each expert and of all; expert 0 is best, the last one random."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(5, (number,), generator=generator)
    scores = torch.rand(number, experts, 5, generator=generator)
    scores += torch.linspace(0.8, 0, experts)[:, None] * torch.eye(5)[truth][:, None]
    return [
        dict(gt_label=label[None], expert_scores=own, pred_score=own.mean(0))
        for label, own in zip(truth, scores, strict=True)
    ]


def evaluate(metric, samples, batch=7):
    metric.dataset_meta = dict(classes=tuple('abcde'), class_counts=COUNTS)
    for start in range(0, len(samples), batch):
        metric.process({}, samples[start : start + batch])
    return metric.evaluate(len(samples))


def test_figures_of_each_expert_are_those_of_its_scores_alone():
    samples = predictions(60)
    figures = evaluate(ExpertAccuracy(), samples)
    expected = evaluate(LongTailAccuracy(), samples)
    for expert in range(3):
        alone = [
            dict(gt_label=one['gt_label'], pred_score=one['expert_scores'][expert])
            for one in samples
        ]
        own = evaluate(LongTailAccuracy(), alone)
        expected |= {
            key.replace('accuracy/', f'accuracy/expert{expert}_'): value
            for key, value in own.items()
        }
    assert figures == expected
    assert list(figures)[0] == 'accuracy/top1'
    assert figures['accuracy/expert0_few'] > figures['accuracy/expert2_few']


def test_images_that_a_sampler_repeats_are_dropped():
    samples = predictions(10)
    metric = ExpertAccuracy(class_counts=COUNTS)
    metric.process({}, samples + samples[:3])
    expected = evaluate(ExpertAccuracy(), samples)
    metric.dataset_meta = dict(classes=tuple('abcde'))
    assert metric.evaluate(len(samples)) == expected


def test_the_csv_is_of_the_joint_prediction(tmp_path):
    samples = predictions(30)
    evaluate(ExpertAccuracy(output_csv=tmp_path / 'joint.csv'), samples)
    evaluate(LongTailAccuracy(output_csv=tmp_path / 'plain.csv'), samples)
    assert (tmp_path / 'joint.csv').read_text() == (tmp_path / 'plain.csv').read_text()


def test_a_nan_of_one_expert_is_its_own_mistake():
    samples = predictions(20)
    for sample in samples:
        sample['expert_scores'][1] = torch.nan
    figures = evaluate(ExpertAccuracy(), samples)
    assert figures['accuracy/expert1_top1'] == 0 and figures['accuracy/expert0_top1'] > 0


def test_nothing_evaluated_is_nothing_reported():
    assert ExpertAccuracy().compute_metrics([]) == {}


def test_predictions_without_scores_of_experts_are_refused():
    sample = predictions(1)[0]
    del sample['expert_scores']
    with pytest.raises(ValueError, match='without expert_scores.*expert_predictions=True'):
        ExpertAccuracy().process({}, [sample])
    with pytest.raises(ValueError, match='without exactly one gt_label'):
        ExpertAccuracy().process({}, [dict(expert_scores=torch.rand(2, 5))])


def test_configs_find_it():
    init_default_scope('mmpretrain')
    assert isinstance(METRICS.build(dict(type='lt_mm.ExpertAccuracy')), LongTailAccuracy)


@pytest.mark.parametrize('batched', [True, False])
def test_views_of_test_time_augmentation_leave_the_joint_figures(monkeypatch, batched):
    """mmpretrain merges joint scores, and copies those of experts from the first view."""
    said = []
    module = 'lt_mm.evaluation.expert_accuracy'
    monkeypatch.setattr(f'{module}.log', lambda message, level: said.append(message))
    samples = predictions(14)
    view = torch.zeros(7, 3, 2, 2)
    views = [view, view] if batched else [list(view), list(view)]
    metric = ExpertAccuracy()
    metric.dataset_meta = dict(classes=tuple('abcde'), class_counts=COUNTS)
    for start in (0, 7):
        metric.process(dict(inputs=views), samples[start : start + 7])
    assert metric.evaluate(14) == evaluate(LongTailAccuracy(), samples)
    (message,) = said
    assert 'no figures of single experts, because mmpretrain merges the views' in message
    # Images alone are no views, however they are collated.
    for inputs in (view, list(view)):
        metric.process(dict(inputs=inputs), samples[:7])
        assert 'accuracy/expert0_top1' in metric.evaluate(7)
