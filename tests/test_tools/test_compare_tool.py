"""The comparison as a command: bad input, both tasks for real, an interrupt in the midst of it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from lt_mm.analysis.variants import VARIANTS, Context, check_model, derive, task_of

VALIDATION = """
val_dataloader = dict(test_dataloader)
val_evaluator = dict(test_evaluator)
val_cfg = dict()
"""


@pytest.fixture
def segmentation(tmp_path, write_config):
    path = tmp_path / 'configs' / 'mine.py'
    folders = dict(images=256, labels=3)
    write_config(path, 'tiny_segmentation.py', folders, tmp_path / 'data')
    path.write_text(path.read_text() + VALIDATION)
    return path


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--methods', 'ce,seasaw'], "'seasaw' is no method; perhaps seesaw."),
        (['--budget', '0'], 'the budget is 0 iterations; give 1 or more.'),
        (['--seeds', '0'], 'there are 0 seeds; give 1 or more.'),
        (['--tune', '9'], '9 trials a method are wanted; give 0, for none, to 8.'),
        (['--jobs', '0'], '--jobs is 0; give 1 or more.'),
        (['--work-dir', 'data/images/0.png/out'], 'Nothing can be written'),
        (['--cfg-options', 'train_dataloader.dataset.data_root=gone'], 'is missing'),
        (['--cfg-options', 'val_dataloader=None'], 'no val_dataloader'),
        (['--tuning-options', 'val_dataloader.batch_size=2'], 'and no trials; say how many'),
        (
            ['--tune', '1', '--tuning-options', 'val_dataloader.dataset.data_root=gone'],
            'is missing',
        ),
    ],
)
def test_bad_input_is_told_in_a_line(segmentation, tmp_path, run_tool, capfd, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run_tool('compare.py', segmentation, *arguments, cwd=tmp_path)
    assert stopped.value.code == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_a_config_in_pure_python_has_the_methods_too(tmp_path):
    path = tmp_path / 'pure.py'
    path.write_text(
        'from mmpretrain.models import ImageClassifier, LeNet5, GlobalAveragePooling\n'
        'from mmpretrain.models import CrossEntropyLoss, LinearClsHead\n'
        "default_scope = 'mmpretrain'\n"
        'loss = dict(type=CrossEntropyLoss)\n'
        'head = dict(type=LinearClsHead, num_classes=3, in_channels=120, loss=loss)\n'
        'model = dict(type=ImageClassifier, backbone=dict(type=LeNet5),\n'
        '             neck=dict(type=GlobalAveragePooling), head=head)\n'
        'train_cfg = dict(by_epoch=True, max_epochs=10)\n'
        'train_dataloader = dict(sampler=dict())\n'
    )
    config = Config.fromfile(path, lazy_import=True)
    config = Config(config.to_dict(), filename=config.filename)
    assert task_of(config) == 'classification'
    for name in ('ce', 'la', 'gml', 'la-post-hoc', 'ldam-drw'):
        derived = derive(config, name, Context(str(tmp_path / 'none.json'), '', 1))
        if name != 'la-post-hoc':
            check_model(derived)
        # What is written can be read again.
        again = Config.fromstring(derived.pretty_text, '.py')
        assert again.model.to_dict() == derived.model.to_dict()
    assert VARIANTS['gml'].note


def start(config, folder, tools, *arguments):
    command = [sys.executable, str(tools / 'compare.py'), str(config), '--budget', '4', *arguments]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
        # Where tests run in the background, Ctrl-C is ignored, by their children as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on_and_reports(segmentation, tmp_path, tools):
    arguments = ('--methods', 'ce,la', '--seeds', '2', '--work-dir', 'out')
    process = start(segmentation, tmp_path, tools, *arguments)
    first = tmp_path / 'out/runs/ce/seed0/result.json'
    second = tmp_path / 'out/runs/ce/seed1/train.log'
    while not (first.is_file() and second.is_file()):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'Interrupted: 1 runs are done and kept in out' in printed
    before = first.stat().st_mtime_ns

    process = start(segmentation, tmp_path, tools, *arguments)
    # By then the folder is its own.
    begun = next(line for line in process.stdout if ' runs in ' in line)
    other = start(segmentation, tmp_path, tools, *arguments)
    told, _ = other.communicate(timeout=100)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert begun.startswith('8 runs in ')
    assert other.returncode == 2 and 'another comparison runs in' in told
    assert 'ce, seed 0: found, run 1 of 8' in printed and first.stat().st_mtime_ns == before
    content = json.loads((tmp_path / 'out/comparison.json').read_text())
    runs = {(run['method'], run['seed']) for run in content['runs']}
    methods = ('ce', 'la', 'class-weight', 'la-post-hoc')
    assert runs == {(name, seed) for name in methods for seed in (0, 1)}
    assert (tmp_path / 'out/comparison_predictions.png').is_file()
    assert content['failures'] == {}


@pytest.mark.slow
def test_a_classifier_with_trials_by_epoch(tmp_path, tools):
    rng = np.random.default_rng(0)
    for name, size in (('a', 8), ('b', 4)):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for i in range(size):
            pixels = rng.integers(256, size=(32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'data' / name / f'{i}.png')
    text = (tools.parent / 'tests/data/tiny_classification.py').read_text()
    config = tmp_path / 'mine.py'
    config.write_text(text.replace('DATA', str(tmp_path / 'data')) + VALIDATION)
    process = start(config, tmp_path, tools, '--methods', 'la', '--seeds', '1', '--tune', '1')
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    content = json.loads((tmp_path / 'work_dirs/compare/mine/comparison.json').read_text())
    assert [trial['value'] for trial in content['trials'] if trial['method'] == 'la'] == [1.0]
    assert all('accuracy/macro' in run['metrics'] for run in content['runs'])
