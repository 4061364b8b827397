"""Experts alone beside their ensemble, and what both cost."""

import pytest

from lt_mm.benchmark import expert_results
from lt_mm.benchmark.experiments import Experiment, Result
from lt_mm.benchmark.expert_results import add_costs, one_expert, split_experts, with_experts
from lt_mm.benchmark.methods import DIGIT_SCENES, DIGITS_LT
from lt_mm.benchmark.model_costs import config_costs


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
    values = {'ce': 5.0, 'focal': 6.0, 'mutual': 8.0}
    results = [result(name, mIoU=value) for name, value in values.items()]
    methods = DIGIT_SCENES.methods
    experiments = [Experiment(name, methods[name], 0, tmp_path) for name in values]
    rows, names = with_experts(experiments, results, DIGIT_SCENES)
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
    config = DIGITS_LT.methods[method].load()
    shared = config.model.backbone.shared_stages >= 0
    alone, joint = config_costs(one_expert(config, 2)), config_costs(config)
    assert len(config.model.head.experts) == 3
    assert (3 * alone.flops > joint.flops) if shared else (3 * alone.flops == joint.flops)


def test_routed_images_cost_the_experts_they_ask():
    priced = dict(ride=DIGITS_LT.methods['ride'])
    few, all_of_them = (
        add_costs([result('ride', **{'experts/mean': mean})], priced)[0].mflops
        for mean in (1.0, 3.0)
    )
    config = priced['ride'].load()
    assert few == pytest.approx(config_costs(one_expert(config)).flops / 1e6)
    assert all_of_them == pytest.approx(config_costs(config).flops / 1e6)
