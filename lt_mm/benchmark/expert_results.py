"""What each expert of a run is worth alone, and what it costs, beside all of them together."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config
from rich.progress import track

from lt_mm.benchmark.experiments import Experiment, Result
from lt_mm.benchmark.methods import Benchmark, Method
from lt_mm.benchmark.model_costs import ModelCosts, config_costs

_ALONE = re.compile(r'expert(\d+)_')


def with_experts(
    experiments: Sequence[Experiment], results: Sequence[Result], benchmark: Benchmark
) -> tuple[list[Result], dict[str, str]]:
    """Results with their costs, and below each method those of its experts alone.

    Args:
        experiments: that have run.
        results: what each came to.
        benchmark: of all of them; those that it does not price are left out.

    Returns:
        Results, and their names in a table: an expert's method is ``'<method>/<number>'``.
    """
    rows, names = [], {}
    pairs = zip(experiments, results, strict=True)
    wanted = [pair for pair in pairs if pair[1].method in benchmark.priced]
    for experiment, result in track(wanted, 'Experts alone'):
        rows += [result, *(split_experts(result) or evaluate_experts(experiment, result))]
    for method in dict.fromkeys(result.method for _, result in wanted):
        names[method] = benchmark.methods[method].label
        alone = sorted({row.method for row in rows if row.method.startswith(f'{method}/')})
        names |= {name: f'· expert {name.rpartition("/")[2]} alone' for name in alone}
    priced = {name: benchmark.methods[other] for name, other in benchmark.priced.items()}
    return add_costs(rows, priced), names


def split_experts(result: Result) -> list[Result]:
    """Results of each expert of a run that :class:`~lt_mm.evaluation.ExpertAccuracy` evaluated.

    Args:
        result: of a run.

    Returns:
        One result an expert, of the method ``'<method>/<expert>'``; none for one network.
    """
    alone: dict[int, dict[str, float]] = {}
    for key, value in result.metrics.items():
        if found := _ALONE.search(key):
            alone.setdefault(int(found[1]), {})[_ALONE.sub('', key)] = value
    return [
        replace(result, method=f'{result.method}/{expert}', metrics=metrics)
        for expert, metrics in sorted(alone.items())
    ]


def evaluate_experts(experiment: Experiment, result: Result) -> list[Result]:
    """Results of each expert of a segmentor, evaluated on the test set of its config.

    Args:
        experiment: that has run.
        result: what it came to.

    Returns:
        As :func:`split_experts`.

    Raises:
        subprocess.CalledProcessError: if an evaluation fails.
    """
    head = experiment.method.load().model.get('decode_head') or {}
    return [
        replace(result, method=f'{result.method}/{expert}', metrics=metrics)
        for expert in range(len(head.get('experts', ())))
        for metrics in [_evaluate(experiment, [f'model.decode_head.predict_with={expert}'])]
    ]


def _evaluate(experiment: Experiment, options: Sequence[str]) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        command = [*experiment.tool('test.py'), experiment.checkpoint, '--work-dir', folder]
        command += ['--cfg-options', *experiment.options, *options]
        environment = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(next(Path(folder).glob('*/*.json')).read_text())


def add_costs(results: Sequence[Result], priced: Mapping[str, Method]) -> list[Result]:
    """Results with the parameters and FLOPs of inference.

    Where images ask for experts one by one, FLOPs are those of the mean number of experts.

    Args:
        results: of methods, and of single experts as :func:`split_experts` names them.
        priced: name of each method to the one whose config says what it costs.
    """
    return [
        replace(
            result,
            parameters=_costs(*_part(result, priced)).inference_parameters,
            mflops=_flops(result, priced) / 1e6,
        )
        for result in results
    ]


def one_expert(config: Config, expert: int = 0) -> Config:
    """The config of a network of this expert alone, for its costs.

    Args:
        config: of several experts; left as it is.
        expert: from 0.
    """
    config = deepcopy(config)
    if 'decode_head' in config.model:
        config.model.decode_head.predict_with = expert
        return config
    config.model.backbone.num_experts = 1
    config.model.head.update(experts=[config.model.head.experts[expert]], interplay=None)
    return config


def _part(result: Result, priced: Mapping[str, Method]) -> tuple[Method, int | None]:
    """The method that says what a result cost, and the expert if it is of one alone."""
    name, _, expert = result.method.partition('/')
    return priced[name], int(expert) if expert else None


@cache
def _costs(method: Method, expert: int | None) -> ModelCosts:
    config = method.load()
    return config_costs(config if expert is None else one_expert(config, expert))


def _flops(result: Result, priced: Mapping[str, Method]) -> float:
    method, expert = _part(result, priced)
    flops = _costs(method, expert).flops
    asked = result.metrics.get('experts/mean')
    if asked is None:
        return flops
    first, others = _costs(method, 0).flops, method.load().model.backbone.num_experts - 1
    return first + (flops - first) / others * (asked - 1)
