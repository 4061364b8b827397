"""Who only segments needs no mmpretrain."""

import subprocess
import sys

PROGRAM = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == 'mmpretrain' else find(name, *args)
sys.modules['mmpretrain'] = None  # importing it raises
from mmengine.registry import METRICS, MODELS, init_default_scope
init_default_scope('mmseg')
assert MODELS.get('lt_mm.GMLFCNHead') and METRICS.get('lt_mm.LongTailIoUMetric')
assert METRICS.get('lt_mm.LongTailAccuracy')
assert MODELS.get('lt_mm.ResNetCifar6n2') is None
"""


def test_segmentation_components_are_there_without_mmpretrain():
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
