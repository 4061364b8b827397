"""ExpertUsage on predictions of known numbers of experts."""

import pytest
import torch

from lt_mm.evaluation import ExpertUsage


def samples(*numbers):
    return [dict(num_experts=torch.tensor([number])) for number in numbers]


def test_mean_and_shares():
    metric = ExpertUsage()
    metric.process(None, samples(1, 1, 3))
    metric.process(None, samples(1))
    assert metric.evaluate(4) == {
        'experts/mean': 1.5,
        'experts/share_1': 75.0,
        'experts/share_2': 0.0,
        'experts/share_3': 25.0,
    }


def test_nothing_and_predictions_of_another_head():
    assert ExpertUsage().compute_metrics([]) == {}
    with pytest.raises(ValueError, match='without num_experts.*RoutedClsHead'):
        ExpertUsage().process(None, [*samples(1), dict()])


def test_views_of_test_time_augmentation_give_no_figure(monkeypatch):
    said = []
    monkeypatch.setattr(
        'lt_mm.evaluation.expert_usage.log', lambda message, level: said.append(message)
    )
    metric = ExpertUsage()
    for _ in range(2):
        metric.process(dict(inputs=[[torch.zeros(3, 2, 2)]] * 2), samples(2))
    assert metric.evaluate(2) == {}
    (message,) = said
    assert 'merges the views of test-time augmentation without their numbers' in message
