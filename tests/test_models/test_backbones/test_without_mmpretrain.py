"""Who only segments needs no mmpretrain."""

import subprocess
import sys

PROGRAM = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == 'mmpretrain' else find(name, *args)
sys.modules['mmpretrain'] = None  # importing it raises
from mmengine.registry import init_default_scope
from lt_mm.registry import METRICS, MODELS
init_default_scope('mmseg')
there = 'GMLFCNHead LongTailHead MultiExpertDecodeHead LongTailEncoderDecoder GMLLoss TauNormConv2d'
for name in there.split():
    assert 'lt_mm.' + name in MODELS, name
for name in 'LongTailClsHead GMLClsHead LongTailClassifier ResNetCifar6n2'.split():
    assert 'lt_mm.' + name not in MODELS, name
assert METRICS.get('lt_mm.LongTailIoUMetric') and METRICS.get('lt_mm.LongTailAccuracy')
head = dict(type='lt_mm.LongTailHead', base='FCNHead', in_channels=4, channels=4, num_classes=3)
assert MODELS.build(dict(head, contrast=dict(type='lt_mm.GMLLoss', size=9, min_size=2)))
"""


def test_segmentation_components_are_there_without_mmpretrain():
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
