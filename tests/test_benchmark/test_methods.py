"""Every method of the benchmarks has its config, its teacher, and its row of the results."""

import json

import pytest

from lt_mm.benchmark.methods import DIGIT_SCENES, DIGITS_LT, META_WEIGHTS, ROOT

BENCHMARKS = dict(digit_scenes=DIGIT_SCENES, digits_lt=DIGITS_LT, meta_weights=META_WEIGHTS)
FOLDERS = dict(meta_weights='digits_lt')


@pytest.mark.parametrize('name', BENCHMARKS)
def test_every_method_has_its_config_and_the_teacher_that_it_names(name):
    methods = BENCHMARKS[name].methods
    for method in methods.values():
        assert method.config.startswith(f'configs/{FOLDERS.get(name, name)}/')
        stages = method.load().get('earlier_stages') or {}
        (named,) = [s.config for s in stages.values() if s.gives == 'teacher'] or [None]
        teacher = method.teacher and methods[method.teacher].config
        assert teacher == (named and named[named.index('configs/') :])
        # The teacher of a variant is of the same one, if it has it.
        assert method.teacher is None or methods[method.teacher].variant is None


@pytest.mark.parametrize('name', BENCHMARKS)
def test_no_two_methods_are_the_same_training(name):
    methods = BENCHMARKS[name].methods.values()
    trained = {(method.config, method.variant) for method in methods}
    assert len(trained) == len(methods) == len({method.label for method in methods})


@pytest.mark.parametrize('name', BENCHMARKS)
def test_names_and_labels_are_those_of_the_committed_results(name):
    results = json.loads((ROOT / f'tools/benchmarks/results/{name}.json').read_text())
    benchmark = BENCHMARKS[name]
    assert list(results['labels'].items()) == list(benchmark.labels.items())
    assert {name for name in results['expert_labels'] if '/' not in name} == {*benchmark.priced}


def test_teachers_come_before_their_students():
    assert DIGIT_SCENES.with_teachers(['gml', 'focal']) == ['ce', 'gml', 'focal']
    assert DIGITS_LT.with_teachers(['ce', 'kd', 'gml']) == ['balanced-softmax', 'ce', 'kd', 'gml']
