"""Experts alone beside their ensemble, and what both cost."""

from pathlib import Path

import pytest
from mmengine.config import Config

from lt_mm.benchmark.experiments import Experiment, Result
from lt_mm.benchmark.expert_results import add_costs, one_expert, split_experts, with_experts
from lt_mm.benchmark.model_costs import config_costs
from lt_mm.engine import expert_results

ROOT = Path(__file__).resolve().parents[2]
DIGITS = 'configs/digits_lt/{}_resnet8_digits-lt.py'


def result(method, **metrics):
    return Result(method, 0, metrics, 0.1, 500.0)


def test_experts_of_a_classifier_are_split():
    figures = dict(top1=9.0, expert0_top1=1.0, expert1_top1=2.0, expert1_few=3.0)
    joint = result('ride', **{f'accuracy/{key}': value for key, value in figures.items()})
    first, second = split_experts(joint)
    assert (first.method, first.metrics) == ('ride/0', {'accuracy/top1': 1.0})
    assert second.metrics == {'accuracy/top1': 2.0, 'accuracy/few': 3.0}
    assert not split_experts(result('ce', **{'accuracy/top1': 9.0}))


def test_segmentors_are_evaluated_once_for_each_expert(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        expert_results, '_evaluate', lambda _, options: asked.append(options) or {'mIoU': 7.0}
    )
    configs = {name: f'configs/digit_scenes/{name}_fcn_r18_digits.py' for name in ('ce', 'mutual')}
    experiments = [Experiment(name, path, 0, tmp_path) for name, path in configs.items()]
    labels = dict(ce='cross-entropy', mutual='mutual learning')
    results = [result('ce', mIoU=5.0), result('mutual', mIoU=8.0)]
    rows, names = with_experts(experiments, results, labels, configs)
    assert asked == [[f'model.decode_head.predict_with={expert}'] for expert in range(3)]
    assert list(names) == ['ce', 'mutual', 'mutual/0', 'mutual/1', 'mutual/2']
    assert [row.metrics['mIoU'] for row in rows] == [5.0, 8.0, 7.0, 7.0, 7.0]
    assert names['mutual/1'] == '· expert 1 alone'
    by_name = {row.method: row for row in rows}
    # One of three alike heads is the single head of the baseline.
    assert by_name['mutual/2'].mflops == pytest.approx(by_name['ce'].mflops, rel=1e-3)
    assert by_name['mutual'].parameters > by_name['mutual/0'].parameters


@pytest.mark.parametrize('method', ['sade', 'ncl'])
def test_an_expert_costs_what_the_network_of_it_alone_does(method):
    config = Config.fromfile(ROOT / DIGITS.format(method))
    shared = config.model.backbone.shared_stages >= 0
    alone, joint = config_costs(one_expert(config, 2)), config_costs(config)
    assert config.model.head.num_experts == 3
    assert (3 * alone.flops > joint.flops) if shared else (3 * alone.flops == joint.flops)


def test_routed_images_cost_the_experts_they_ask():
    configs = dict(ride=DIGITS.format('ride'))
    few, all_of_them = (
        add_costs([result('ride', **{'experts/mean': mean})], configs)[0].mflops
        for mean in (1.0, 3.0)
    )
    config = Config.fromfile(ROOT / configs['ride'])
    assert few == pytest.approx(config_costs(one_expert(config)).flops / 1e6)
    assert all_of_them == pytest.approx(config_costs(config).flops / 1e6)
