"""tools/train.py on every config of DigitsLT: an epoch of earlier stages and of the training."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from lt_mm.benchmark.methods import DIGITS_LT

CONFIGS = sorted((Path(__file__).resolve().parents[2] / 'configs' / 'digits_lt').glob('*.py'))


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_one_command_trains_each_config(config, tmp_path, run_tool):
    short = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    options = [*short, 'train_dataloader.dataset.imbalance_factor=100']
    options += [f'{option}={tmp_path / name}' for option, name in DIGITS_LT.files]
    stages = Config.fromfile(config).get('earlier_stages') or {}
    options += [f'earlier_stages.{name}.cfg_options.{o}' for name in stages for o in short]
    run_tool(
        'train.py', config, '--work-dir', tmp_path, '--cfg-options', *options, cwd=tmp_path
    )  # fmt: skip
    for folder in (tmp_path, *(tmp_path / name for name in stages)):
        assert (folder / 'epoch_1.pth').is_file()
    scalars = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert {'accuracy/few', 'calibration/ECE'} <= json.loads(scalars[-1]).keys()
    assert all((tmp_path / name).is_file() for _, name in DIGITS_LT.files)
