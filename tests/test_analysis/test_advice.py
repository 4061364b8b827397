"""Advice follows from figures: none where nothing is wrong, each with its figure and a command."""

import copy
import re
import shlex
from pathlib import Path

import pytest

from lt_mm.analysis.advice import Commands, advise
from lt_mm.analysis.variants import VARIANTS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = Commands('my config.py', 'a.pth', ('--variant', 'v'), ('seed=1',))
GROUPS = ('head', 'body', 'tail')


@pytest.fixture
def healthy():
    """What is told of a balanced data set and a model that treats its classes alike."""
    accuracy = dict(head=0.8, body=0.8, tail=0.75)
    split = dict(samples=1000, unit='pixels', imbalance_factor=2.0, gini=0.1)
    return dict(
        task='segmentation',
        has_tta=False,
        files=dict(val_counts='out/val_counts.json'),
        group_names=list(GROUPS),
        classes=[dict(name=name, train=dict(count=50, images=500)) for name in 'abc'],
        data=dict(
            train=split,
            val=split,
            prior_shift=dict(total_variation=0.02),
            company=[dict(name='c', images=9, beside=[])],
        ),
        model=dict(
            groups={name: dict(accuracy=value) for name, value in accuracy.items()},
            group_confusion={
                name: dict(right=0.8, head=0.05, body=0.1, tail=0.05) for name in GROUPS
            },
            norms=dict(weight_correlation=0.1),
            calibration=dict(
                groups={name: dict(ECE=0.03, confidence=0.8, accuracy=0.8) for name in GROUPS}
            ),
            small_regions=dict(number=90, number_larger=9, found=0.7, found_larger=0.8),
        ),
    )


def value_at(content, path):
    *keys, last = path.split('.')
    for key in keys:
        content = content[key]
    return content.get(last)


CASES = {
    'tail_as_head': (
        lambda c: c['model']['group_confusion']['tail'].update(head=0.3, body=0.25),
        ['55.0%', 'head 30.0%, body 25.0%'],
        'alpha_sweep.py',
    ),
    'accuracy': (
        lambda c: c['model']['groups']['tail'].update(accuracy=0.31),
        ['80.0%', '31.0%'],
        'compare.py',
    ),
    'weights': (
        lambda c: c['model']['norms'].update(weight_correlation=0.83),
        ['0.83'],
        'ce,cosine',
    ),
    'calibration': (
        lambda c: c['model']['calibration']['groups']['tail'].update(
            ECE=0.23, confidence=0.7, accuracy=0.47
        ),
        ['23.0%', '70.0%', '47.0%', '3.0%'],
        '--fold',
    ),
    'shift': (
        lambda c: c['data']['prior_shift'].update(total_variation=0.4),
        ['40.0%'],
        '--target-prior out/val_counts.json',
    ),
    'small': (
        lambda c: c['model']['small_regions'].update(found=0.2),
        ['90', '20%', '80%'],
        "'test_dataloader.dataset.pipeline.1.scale=(96,48)'",
    ),
    'few images': (
        lambda c: c['classes'][2]['train'].update(images=3),
        ['1 class occurs', '1%', '1,000', 'c'],
        'ce,rfs',
    ),
    'absent': (
        lambda c: [row['train'].update(count=0, images=0) for row in c['classes'][1:]],
        ['2 classes occur nowhere', 'b, c'],
        'class_counts.py',
    ),
    'company': (
        lambda c: c['data']['company'][0].update(
            beside=[dict(name='a', share=1.0, everywhere=0.3)]
        ),
        ['1 rare class occurs', '100%', '30%'],
        'class-weight',
    ),
}
PIPELINE = [dict(type='LoadImageFromFile', scale=None), dict(type='Resize', scale=(64, 32))]


def test_nothing_is_advised_where_nothing_is_wrong(healthy):
    assert advise(healthy, COMMANDS, PIPELINE) == []


@pytest.mark.parametrize('case', CASES)
def test_each_figure_brings_its_own_advice(healthy, case):
    change, told, command = CASES[case]
    change(healthy)
    (one,) = advise(healthy, COMMANDS, PIPELINE)
    for text in told:
        assert text in one['finding']
    assert command in one['command']
    for path, figure in one['figures'].items():
        known = value_at(healthy, path)
        assert known == figure or known is None or len(known) == figure
    tool, config = shlex.split(one['command'])[1:3]
    assert (ROOT / tool).is_file() and config == 'my config.py'
    words = shlex.split(one['command'])
    assert words[words.index('--variant') + 1] == 'v' and 'seed=1' in words
    if 'alpha_sweep' in tool or 'test.py' in tool:
        assert words[3] == 'a.pth'
    text = (ROOT / tool).read_text()
    for option in {word for word in words if word.startswith('--')} - {
        '--variant',
        '--cfg-options',
    }:
        assert f"'{option}'" in text
    for methods in re.findall(r'--methods ([\w,-]+)', one['command']):
        assert set(methods.split(',')) <= set(VARIANTS)


def test_calibration_at_each_strength_is_promised_where_the_sweep_has_it(healthy):
    healthy['model']['calibration']['groups']['tail'].update(ECE=0.23)
    advices = {}
    for task in ('segmentation', 'classification'):
        healthy['task'] = task
        (one,) = advise(healthy, COMMANDS, PIPELINE)
        advices[task] = 'at each strength' in one['advice']
    assert advices == dict(segmentation=False, classification=True)


def test_the_data_alone(healthy):
    del healthy['model']
    assert advise(healthy, COMMANDS, []) == []
    healthy['data']['train']['imbalance_factor'] = 565.6
    (one,) = advise(healthy, Commands('c.py'), [])
    assert '566 times' in one['finding'] and '0.10' in one['finding']
    assert one['command'] == 'python tools/compare.py c.py --methods ce,la,gml'


def test_small_regions_without_a_scale_to_change(healthy):
    CASES['small'][0](healthy)
    assert advise(healthy, COMMANDS, PIPELINE[:1]) == []
    healthy['has_tta'] = True
    (one,) = advise(healthy, COMMANDS, PIPELINE[:1])
    assert '--tta' in shlex.split(one['command'])


def test_what_is_unknown_is_no_finding(healthy):
    nothing = copy.deepcopy(healthy)
    model = nothing['model']
    for name in GROUPS:
        model['groups'][name]['accuracy'] = None
        model['group_confusion'][name] = dict.fromkeys(model['group_confusion'][name])
        model['calibration']['groups'][name] = dict(ECE=None, confidence=None, accuracy=None)
    model.update(norms=None, small_regions=None)
    del nothing['data']['train']
    nothing['data'].update(company=[], prior_shift=None)
    assert advise(nothing, COMMANDS, PIPELINE) == []
