"""What each expert of a run is worth alone, and what it costs, beside all of them together."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config
from rich.progress import track

from lt_mm.benchmark.experiments import ROOT, Experiment, Result
from lt_mm.benchmark.model_costs import ModelCosts, config_costs

_ALONE = re.compile(r'expert(\d+)_')


def with_experts(
    experiments: Sequence[Experiment],
    results: Sequence[Result],
    labels: Mapping[str, str],
    configs: Mapping[str, str],
) -> tuple[list[Result], dict[str, str]]:
    """Results with their costs, and below each method those of its experts alone.

    Args:
        experiments: that have run.
        results: what each came to.
        labels: method to its name in the table.
        configs: method to the config that says what it costs; others are left out.

    Returns:
        Results, and the names in the table: an expert's method is ``'<method>/<number>'``.
    """
    rows, names = [], {}
    pairs = zip(experiments, results, strict=True)
    wanted = [pair for pair in pairs if pair[1].method in configs]
    for experiment, result in track(wanted, 'Experts alone'):
        rows += [result, *(split_experts(result) or evaluate_experts(experiment, result))]
    for method in configs:
        names[method] = labels[method]
        alone = sorted({row.method for row in rows if row.method.startswith(f'{method}/')})
        names |= {name: f'· expert {name.rpartition("/")[2]} alone' for name in alone}
    return add_costs(rows, configs), names


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
    config = ROOT / experiment.config
    head = Config.fromfile(config).model.get('decode_head') or {}
    return [
        replace(result, method=f'{result.method}/{expert}', metrics=metrics)
        for expert in range(len(head.get('experts', ())))
        for metrics in [_evaluate(experiment, [f'model.decode_head.predict_with={expert}'])]
    ]


def _evaluate(experiment: Experiment, options: Sequence[str]) -> dict[str, float]:
    tool, config = ROOT / 'tools' / 'test.py', ROOT / experiment.config
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(tool), str(config), experiment.checkpoint]
        command += ['--work-dir', folder, '--cfg-options', *experiment.options, *options]
        environment = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(next(Path(folder).glob('*/*.json')).read_text())


def add_costs(results: Sequence[Result], configs: Mapping[str, str]) -> list[Result]:
    """Results with the parameters and FLOPs of inference.

    Where images ask for experts one by one, FLOPs are those of the mean number of experts.

    Args:
        results: of methods, and of single experts as :func:`split_experts` names them.
        configs: method to its config file, relative to the repository.
    """
    return [
        replace(
            result,
            parameters=_costs(*_part(result, configs)).inference_parameters,
            mflops=_flops(result, configs) / 1e6,
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
    head = config.model.head
    config.model.backbone.num_experts = head.num_experts = 1
    head.interplay = None
    if isinstance(head.get('loss'), list):
        head.loss = head.loss[expert]
    return config


def _part(result: Result, configs: Mapping[str, str]) -> tuple[Path, int | None]:
    """The config that says what a result cost, and the expert if it is of one alone."""
    method, _, expert = result.method.partition('/')
    return ROOT / configs[method], int(expert) if expert else None


@cache
def _costs(path: Path, expert: int | None) -> ModelCosts:
    config = Config.fromfile(path)
    return config_costs(config if expert is None else one_expert(config, expert))


def _flops(result: Result, configs: Mapping[str, str]) -> float:
    path, expert = _part(result, configs)
    flops = _costs(path, expert).flops
    asked = result.metrics.get('experts/mean')
    if asked is None:
        return flops
    first = _costs(path, 0).flops
    return first + (flops - first) / (Config.fromfile(path).model.head.num_experts - 1) * (
        asked - 1
    )
