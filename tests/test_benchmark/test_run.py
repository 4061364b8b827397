"""A benchmark as a command: which runs it asks for, what it prints, what it keeps."""

import argparse
import json

import pytest

from lt_mm.benchmark import run
from lt_mm.benchmark.experiments import Result
from lt_mm.benchmark.methods import DIGIT_SCENES, DIGITS_LT
from lt_mm.benchmark.run import add_arguments, run_benchmark


def arguments(benchmark, *argv):
    parser = argparse.ArgumentParser()
    add_arguments(parser, benchmark, methods=['ce'], seeds=[0], jobs=1)
    return parser.parse_args([*map(str, argv)])


@pytest.fixture
def asked(monkeypatch):
    """What would have been trained; each run gets 70 and its seed in everything."""
    experiments = []

    def run_all(wanted, jobs, reuse):
        experiments.extend(wanted)
        metrics = {**DIGIT_SCENES.metrics, **DIGITS_LT.metrics}
        return [
            Result(e.name, e.seed, dict.fromkeys(metrics, 70.0 + e.seed), 0.1, 500.0, 25.0)
            for e in wanted
        ]

    monkeypatch.setattr(run, 'run_all', run_all)
    return experiments


def test_table_and_file(asked, tmp_path, capsys):
    path = tmp_path / 'results.json'
    args = arguments(DIGITS_LT, '--methods', 'kd', '--seeds', 0, 1, '--json', path)
    option = 'val_dataloader.dataset.split=test'
    done = run_benchmark(DIGITS_LT, args, [option])
    printed = capsys.readouterr().out
    assert '| KD ' in printed and '70.5 ± 0.7' in printed and ' 25 |' in printed
    assert done == asked and [(e.name, e.seed) for e in asked] == [
        ('ce', 0), ('kd', 0), ('ce', 1), ('kd', 1),
    ]  # fmt: skip
    assert {e.options for e in asked} == {(option,)} and {e.epochs for e in asked} == {100}
    assert 'MFLOPs' not in printed
    written = json.loads(path.read_text())
    assert [run['method'] for run in written['runs']] == ['ce', 'kd'] * 2
    assert written['labels'] == {'ce': 'cross-entropy', 'kd': 'KD'}
    assert written['environment']['jobs'] == 1
    assert [run['method'] for run in written['expert_runs']] == ['ce'] * 2


def test_experts_have_a_table_of_their_own(asked, monkeypatch, capsys):
    alone = [Result(f'mutual/{e}', 0, dict.fromkeys(DIGIT_SCENES.metrics, 1.0), 0.1, 1.0)
             for e in range(3)]  # fmt: skip
    monkeypatch.setattr(
        run,
        'with_experts',
        lambda experiments, results, benchmark: (alone, {r.method: r.method for r in alone}),
    )
    monkeypatch.setattr(run, 'INFERENCE_COSTS', {})
    run_benchmark(DIGIT_SCENES, arguments(DIGIT_SCENES, '--methods', 'mutual'))
    assert '| mutual/2 ' in capsys.readouterr().out
    assert [e.epochs for e in asked] == [None]


def test_all_is_every_method(asked, monkeypatch):
    monkeypatch.setattr(run, 'with_experts', lambda *given: ([], {}))
    run_benchmark(DIGIT_SCENES, arguments(DIGIT_SCENES, '--methods', 'all'))
    assert [e.name for e in asked] == list(DIGIT_SCENES.methods)
    assert len({e.work_dir for e in asked}) == len(asked)
