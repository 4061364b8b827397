"""Tools that users of mm look for: ours that replace them, and theirs that do as they are."""

import csv
import json
import runpy
import sys
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

MIM = Path(mmpretrain.__file__).parent / '.mim' / 'tools'
DIGITS = 'configs/digits_lt/ce_resnet8_digits-lt.py'


@pytest.fixture(scope='module')
def classifier(run_tool, tmp_path_factory):
    """Work dir of a classifier of digits trained for two epochs."""
    home = tmp_path_factory.mktemp('classifier')
    options = ('train_cfg.max_epochs=2', 'train_cfg.val_interval=2')
    options += ('default_hooks.logger.interval=1',)
    run_tool('train.py', DIGITS, '--cfg-options', *options, cwd=home)
    return home / 'work_dirs' / 'ce_resnet8_digits-lt'


def test_the_printed_config_is_the_config(run_tool, tmp_path, capsys):
    config = tmp_path / 'mine.py'
    shipped = 'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'
    for base in ('lt_mm::cifar_lt/gml_r32_cifar100-lt_200e.py', shipped):
        config.write_text(f"_base_ = '{base}'\n")
        run_tool('misc/print_config.py', 'mine.py', '--cfg-options', 'seed=3', cwd=tmp_path)
        printed = Config.fromstring(capsys.readouterr().out, '.py')
        original = Config.fromfile(config)
        assert printed.model == original.model
        assert printed.train_dataloader.dataset == original.train_dataloader.dataset
        assert printed.seed == 3


def test_a_variant_is_printed(run_tool, tmp_path, capsys):
    config = 'configs/cifar_lt/gml_r32_cifar100-lt_200e.py'
    run_tool('misc/print_config.py', config, '--variant', 'if50', cwd=tmp_path)
    assert Config.fromstring(capsys.readouterr().out, '.py').variant == 'if50'


def test_curves_and_times_of_logs_by_the_tool_of_mmpretrain(
    classifier, trained, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr('matplotlib.pyplot.show', lambda: None)
    runs = ((trained / 'elsewhere' / 'work_dirs' / 'tiny', 'loss'), (classifier, 'accuracy/few'))
    for work_dir, key in runs:
        log = str(next(work_dir.glob('*/vis_data/scalars.json')))
        for argv in (
            ('plot_curve', log, '--keys', key, '--out', str(tmp_path / 'curve.png')),
            ('cal_train_time', log),
        ):
            monkeypatch.setattr(sys, 'argv', ['analyze_logs.py', *argv])
            runpy.run_path(str(MIM / 'analysis_tools/analyze_logs.py'), run_name='__main__')
        assert Image.open(tmp_path / 'curve.png').size[0] > 200
        assert 'average iter time' in capsys.readouterr().out


def matrix_of(folder):
    with (folder / 'confusion.csv').open() as file:
        head, *rows = csv.reader(file)
    assert [row[0] for row in rows] == head[1:]
    return np.array([row[1:] for row in rows], int)


def test_confusion_of_a_segmentor(run_tool, trained, tmp_path):
    config, run = trained / 'configs' / 'tiny.py', trained / 'elsewhere' / 'work_dirs' / 'tiny'
    checkpoint = run / 'iter_2.pth'
    run_tool('test.py', config, checkpoint, '--out', 'maps', cwd=tmp_path)
    run_tool('analysis_tools/confusion_matrix.py', config, checkpoint, '--out', 'out', cwd=tmp_path)
    expected = np.zeros((3, 3), int)
    for file in (trained / 'data' / 'labels').glob('*.png'):
        labels = np.asarray(Image.open(file))
        predicted = np.asarray(Image.open(tmp_path / 'maps' / file.name))
        for pair in zip(labels.ravel(), predicted.ravel(), strict=True):
            expected[pair] += 1
    np.testing.assert_array_equal(matrix_of(tmp_path / 'out'), expected)
    assert Image.open(tmp_path / 'out' / 'confusion.png').size[0] > 300


def test_confusion_of_a_classifier(run_tool, classifier, tmp_path, capsys):
    checkpoint = classifier / 'epoch_2.pth'
    run_tool('analysis_tools/confusion_matrix.py', DIGITS, checkpoint, '--out', 'out', cwd=tmp_path)
    printed = capsys.readouterr().out
    matrix = matrix_of(tmp_path / 'out')
    # 40 test images a digit.
    np.testing.assert_array_equal(matrix.sum(axis=1), 40)
    run_tool('test.py', DIGITS, checkpoint, '--work-dir', 'eval', cwd=tmp_path)
    tested = json.loads(next(tmp_path.glob('eval/*/*.json')).read_text())
    assert matrix.trace() / 4 == pytest.approx(tested['accuracy/top1'])
    assert f'{matrix.trace() / 4:.2f} % of 400 are right.' in printed


@pytest.mark.parametrize('repeat', [1, 2])
def test_images_a_second(run_tool, classifier, tmp_path, capsys, repeat):
    argv = ('--batches', 5, '--warmup', 1, '--repeat-times', repeat, '--work-dir', 'fps')
    tool = 'analysis_tools/benchmark.py'
    run_tool(tool, DIGITS, classifier / 'epoch_2.pth', *argv, cwd=tmp_path)
    result = json.loads((tmp_path / 'fps' / 'fps.json').read_text())
    assert len(result['fps']) == repeat and result['batches'] == 5 and min(result['fps']) > 0
    assert f'run {repeat}: {result["fps"][-1]:.2f} images/s' in capsys.readouterr().out


def test_images_a_second_of_few_images_with_random_weights(run_tool, trained, tmp_path, capsys):
    # Three images, of which the last is timed.
    config = trained / 'configs' / 'tiny.py'
    run_tool('analysis_tools/benchmark.py', config, cwd=tmp_path)
    assert 'random weights, cpu, 1 batches of 1' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('tool', 'argv', 'told'),
    [
        ('benchmark', ('none.pth',), 'Checkpoint none.pth does not exist'),
        ('benchmark', ('--batches', '0'), '--batches 0 is too few'),
        ('benchmark', ('--cfg-options', 'test_dataloader=None'), 'has no test_dataloader'),
        ('confusion_matrix', ('none.pth',), 'none.pth'),
    ],
)
def test_what_is_wrong_is_said(run_tool, trained, tmp_path, capsys, tool, argv, told):
    config = trained / 'configs' / 'tiny.py'
    with pytest.raises(SystemExit, match='2'):
        run_tool(f'analysis_tools/{tool}.py', config, *argv, cwd=tmp_path)
    assert told in capsys.readouterr().err
