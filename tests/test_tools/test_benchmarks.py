"""The benchmarks measure what they say, write it down, and the committed results are complete."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'tools' / 'benchmarks' / 'results'
SMALL = ['--crop', '64', '--batch', '2', '--steps', '1', '--turns', '1', '--device', 'cpu']
DEMO = [str(ROOT / f'configs/digit_scenes/{name}_fcn_r18_digits{end}.py')
        for name, end in (('ce', ''), ('gml', '_no-teacher'), ('gml', ''))]  # fmt: skip


def tool(name, monkeypatch):
    """A benchmark as a module that measures in this process, to save starting others."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools/benchmarks' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'in_fresh_process', lambda function, *args: function(*args))
    return module


def test_the_three_ways_of_the_loss_compute_the_same(monkeypatch):
    module = tool('gml_loss', monkeypatch)
    torch.manual_seed(0)
    lengths, grad = torch.tensor([3, 4, 2]), torch.randn(5, 3)
    found = {}
    for name in ('ours', 'dense'):
        queries, keys = torch.ones(5, 2).cumsum(0).sin(), torch.ones(9, 2).cumsum(0).cos()
        queries.requires_grad_(), keys.requires_grad_()
        module.METHODS[name](queries, keys, lengths, grad)
        found[name] = (queries.grad, keys.grad)
    for mine, other in zip(found['ours'], found['dense'], strict=True):
        torch.testing.assert_close(mine, other)


def test_loss_benchmark_writes_every_method_and_a_picture(monkeypatch, tmp_path, capsys):
    module = tool('gml_loss', monkeypatch)
    monkeypatch.setattr(module, 'GROWTH', dict(N=(16384,), D=(64,), C=(19,), K=(8192,)))
    arguments = ['--device', 'cpu', '--repeats', '1', '--shrink', '256']
    paths = [tmp_path / 'a.json', tmp_path / 'a.png']
    module.main([*arguments, '--json', str(paths[0]), '--picture', str(paths[1])])
    rows = json.loads(paths[0].read_text())['rows']
    assert [row['method'] for row in rows] == ['ours', 'dense', 'floor'] * 4
    assert {row['N'] for row in rows} == {64, 1} and all(row['seconds'] > 0 for row in rows)
    assert paths[1].stat().st_size > 1000 and '/ floor' in capsys.readouterr().out


def test_step_benchmark_measures_each_config_with_full_queues(monkeypatch, tmp_path, capsys):
    module = tool('train_step', monkeypatch)
    path = tmp_path / 'a.json'
    module.main([*DEMO, *SMALL, '--json', str(path)])
    rows = json.loads(path.read_text())['rows']
    assert [row['config'] for row in rows] == [Path(config).stem for config in DEMO]
    assert all(row['seconds'] > 0 for row in rows) and '100 %' in capsys.readouterr().out
    step = module.Step(DEMO[1], dict(device='cpu', amp=False, crop=64, batch=2, cfg_options={}))
    assert step() > 0
    queue = step.model.decode_head.contrast.queue
    assert torch.equal(queue.filled, queue.lengths)


def test_step_benchmark_counts_what_experts_add(monkeypatch, tmp_path, capsys):
    configs = [DEMO[0], str(ROOT / 'configs/digit_scenes/mutual_fcn_r18_digits.py')]
    path = tmp_path / 'a.json'
    tool('train_step', monkeypatch).main([*configs, *SMALL, '--json', str(path)])
    one, three = json.loads(path.read_text())['rows']
    # A head is a 3x3 convolution of 168 to 64 channels with normalisation, and a classifier of 12.
    assert three['parameters'] - one['parameters'] == 2 * (168 * 64 * 9 + 2 * 64 + 65 * 12)
    convolutions = 2 * (168 * 64 * 9 + 64 * 12) * 16 * 16
    assert convolutions <= three['flops'] - one['flops'] < 1.1 * convolutions
    assert 'GFLOPs' in capsys.readouterr().out


def test_step_benchmark_profiles(monkeypatch, capsys):
    tool('train_step', monkeypatch).main([DEMO[1], *SMALL, '--profile'])
    assert 'convolution' in capsys.readouterr().out


@pytest.mark.parametrize('path', sorted(RESULTS.glob('*.json')), ids=lambda path: path.stem)
def test_committed_results_name_hardware_versions_and_date(path):
    environment = json.loads(path.read_text())['environment']
    assert {'date', 'processor', 'cores', 'python', 'torch'} <= environment.keys()
