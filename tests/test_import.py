"""What importing lt_mm says and does."""

import importlib
import subprocess
import sys

import pytest
from mmengine.config import Config

WITHOUT_MMSEG = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == 'mmseg' else find(name, *args)
import lt_mm
"""


def test_without_the_stack_one_sentence_says_what_to_install():
    done = subprocess.run([sys.executable, '-c', WITHOUT_MMSEG], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: lt_mm needs mmseg') and 'requirements.txt' in last


def test_configs_may_inherit_from_mmseg():
    # As any tool of lt_mm does.
    importlib.import_module('lt_mm')
    cfg = Config.fromstring("_base_ = 'mmseg::_base_/schedules/schedule_160k.py'", '.py')
    assert cfg.train_cfg.max_iters == 160000


@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain'])
def test_components_are_found_without_custom_imports(scope):
    program = (
        'from mmengine.registry import HOOKS, METRICS, MODELS, DATASETS, init_default_scope\n'
        f'init_default_scope({scope!r})\n'
        "assert MODELS.get('lt_mm.GMLFCNHead') and HOOKS.get('lt_mm.ClassCountsHook')\n"
        "assert METRICS.get('lt_mm.LongTailIoUMetric')\n"
        "assert DATASETS.get('lt_mm.DigitScenesDataset')\n"
        # From then on no checkpoint runs code, whatever tool loads it.
        'from mmengine.runner import CheckpointLoader\n'
        "loader = CheckpointLoader._get_checkpoint_loader('a.pth')\n"
        "assert loader.__code__.co_filename.endswith('checkpoints.py'), loader\n"
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
