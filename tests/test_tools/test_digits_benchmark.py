"""The comparison on DigitsLT: its configs train, its table and its file say what was run."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from lt_mm.benchmark.experiments import Result

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'configs' / 'digits_lt').glob('*.py'))


def tool(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def digits():
    return tool(ROOT / 'tools' / 'benchmarks' / 'digits.py')


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_one_command_trains_each_config(config, tmp_path, monkeypatch, digits):
    cfg = Config.fromfile(config)
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    options += ['train_dataloader.dataset.imbalance_factor=100']
    options += [f'{option}={tmp_path / name}' for option, name in digits.FILES]
    for name in cfg.get('earlier_stages') or {}:
        options += [f'earlier_stages.{name}.cfg_options.{option}' for option in options[:2]]
    arguments = [str(config), '--work-dir', str(tmp_path), '--cfg-options', *options]
    monkeypatch.setattr(sys, 'argv', ['train.py', *arguments])
    tool(ROOT / 'tools' / 'train.py').main()
    assert (tmp_path / 'epoch_1.pth').is_file()
    for name in cfg.get('earlier_stages') or {}:
        assert (tmp_path / name / 'epoch_1.pth').is_file()
    scalars = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert {'accuracy/few', 'calibration/ECE'} <= json.loads(scalars[-1]).keys()
    assert all((tmp_path / name).is_file() for _, name in digits.FILES)
    assert len(config.read_text().splitlines()) <= 30


def test_every_method_has_its_config_and_its_teacher(digits):
    for method, (_, _, teacher) in digits.METHODS.items():
        cfg = Config.fromfile(ROOT / digits.config_of(method))
        stages = cfg.get('earlier_stages') or {}
        named = [Path(s.config).name for s in stages.values() if s.gives == 'teacher']
        assert named == ([Path(digits.config_of(teacher)).name] if teacher else [])


def test_table_and_file(digits, monkeypatch, tmp_path, capsys):
    commands, metrics = [], digits.CLASSIFICATION

    def run_all(experiments, jobs, reuse):
        commands.extend((e.method, e.seed, e.teacher, e.options) for e in experiments)
        return [
            Result(e.method, e.seed, dict.fromkeys(metrics, 70.0 + e.seed), 0.1, 500.0, 25.0)
            for e in experiments
        ]  # fmt: skip

    monkeypatch.setattr(digits, 'run_all', run_all)
    path = tmp_path / 'results.json'
    digits.main(['--methods', 'kd', '--seeds', '0', '1', '--json', str(path)])
    printed = capsys.readouterr().out
    assert '| KD ' in printed and '70.5 ± 0.7' in printed and ' 25 |' in printed
    option = ('val_dataloader.dataset.split=test',)
    assert commands[:2] == [('ce', 0, None, option), ('kd', 0, 'ce', option)]
    written = json.loads(path.read_text())
    assert [run['method'] for run in written['runs']] == ['ce', 'kd'] * 2
    assert written['environment']['jobs'] == 2
