"""The sweep of models that lt_mm never trained, against direct evaluation of folded ones."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

TOOL = 'analysis_tools/alpha_sweep.py'


@pytest.fixture(scope='module')
def segmentor(trained, tmp_path_factory):
    """Config and checkpoint of a plain segmentor whose classes are unequally frequent."""
    home = tmp_path_factory.mktemp('segmentor')
    text = (trained / 'configs' / 'tiny.py').read_text()
    data = home / 'data'
    rng = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (data / folder).mkdir(parents=True)
    for i in range(6):
        labels = rng.choice(3, size=(64, 64), p=(0.7, 0.25, 0.05)).astype(np.uint8)
        pixels = 60 * labels[..., None] + rng.integers(120, size=(64, 64, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(data / 'images' / f'{i}.png')
        Image.fromarray(labels).save(data / 'labels' / f'{i}.png')
    config = home / 'plain.py'
    config.write_text(text.replace(str(trained / 'data'), str(data)))
    content = torch.load(
        trained / 'elsewhere' / 'work_dirs' / 'tiny' / 'iter_2.pth', weights_only=False
    )
    # Two iterations teach nothing: classes compete only where their scores are far apart.
    content['state_dict']['decode_head.conv_seg.weight'].normal_(
        0, 2, generator=torch.Generator().manual_seed(0)
    )
    torch.save(content, home / 'plain.pth')
    return config, home / 'plain.pth'


@pytest.fixture(scope='module')
def classifier(run_tool, tmp_path_factory):
    """Config and checkpoint of a plain classifier."""
    home = tmp_path_factory.mktemp('classifier')
    rng = np.random.default_rng(0)
    for name, number in (('cat', 9), ('dog', 3)):
        (home / 'data' / name).mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(256, size=(32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(home / 'data' / name / f'{i}.png')
    text = (Path(__file__).parents[1] / 'data' / 'tiny_classification.py').read_text()
    config = home / 'plain.py'
    config.write_text(text.replace('DATA', str(home / 'data')))
    run_tool('train.py', config, '--work-dir', home / 'run', cwd=home)
    return config, home / 'run' / 'epoch_1.pth'


def rows_of(path):
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row['images'] == 'all']


def evaluated(run_tool, folder, home, key):
    """A figure of tools/test.py, which loads the folder with the plain package."""
    home.mkdir()
    run_tool(
        'test.py', folder / 'config.py', folder / 'weights.pth', '--work-dir', home, cwd=home
    )  # fmt: skip
    logs = sorted(home.glob('*/*.json'))
    return json.loads(logs[-1].read_text())[key]


@pytest.mark.parametrize('alpha', [0.5, 1.5])
def test_a_folded_segmentor_does_as_the_sweep_said(run_tool, segmentor, tmp_path, alpha):
    config, checkpoint = segmentor
    out = ('--out', tmp_path / 'out')
    run_tool(TOOL, config, checkpoint, '--fold', alpha, *out, cwd=tmp_path)
    rows = rows_of(tmp_path / 'out' / 'alphas.csv')
    assert [float(row['alpha']) for row in rows] == pytest.approx(np.arange(21) / 10)
    assert len({row['mIoU'] for row in rows}) > 3
    row = next(row for row in rows if float(row['alpha']) == alpha)
    found = evaluated(run_tool, tmp_path / 'out' / f'alpha_{alpha:g}', tmp_path / 't', 'mIoU')
    # mmseg rounds in float32.
    assert found == pytest.approx(round(float(row['mIoU']), 2), abs=1e-4)
    content = json.loads((tmp_path / 'out' / 'sweep.json').read_text())
    assert content['trained_alpha'] == 0
    assert 'CrossEntropyLoss' in content['trained_alpha_since']
    assert content['class_counts_from'] == 'counted in the training set of the config'
    assert content['images'] == dict(choose=3, report=3)
    assert (tmp_path / 'out' / 'alphas.png').stat().st_size > 5000


def test_a_folded_classifier_does_as_the_sweep_said(run_tool, classifier, tmp_path, capfd):
    config, checkpoint = classifier
    arguments = ('--fold', 1, '--fit-offsets', '--em', '--out', tmp_path / 'out')
    run_tool(TOOL, config, checkpoint, *arguments, cwd=tmp_path)
    # The config is for the log file, not for the screen.
    assert 'Hooks will be executed' not in ''.join(capfd.readouterr())
    (log,) = (tmp_path / 'out').glob('*/*.log')
    assert 'Hooks will be executed' in log.read_text()
    row = next(r for r in rows_of(tmp_path / 'out' / 'alphas.csv') if r['alpha'] == '1')
    found = evaluated(run_tool, tmp_path / 'out' / 'alpha_1', tmp_path / 't', 'accuracy/top1')
    assert found == pytest.approx(float(row['top1']), abs=1e-3)
    content = json.loads((tmp_path / 'out' / 'sweep.json').read_text())
    assert [row['name'] for row in content['reported']][-2:] == ['fitted', 'em']
    assert sum(content['priors']['estimated']) == pytest.approx(1)


def test_a_known_prior(run_tool, segmentor, tmp_path):
    config, checkpoint = segmentor
    counts = dict(
        name='t', unit='pixels', source='', classes=[['sky', 1], ['road', 1], ['sign', 8]]
    )
    (tmp_path / 'target.json').write_text(json.dumps(counts))
    arguments = ('--target-prior', tmp_path / 'target.json', '--out', tmp_path / 'out')
    run_tool(TOOL, config, checkpoint, *arguments, cwd=tmp_path)
    rows = rows_of(tmp_path / 'out' / 'alphas.csv')
    assert rows[-1]['alpha'] == 'target'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--alphas', 1, 0, 0.1), 'rising'),
        (('--choose-by', 'mIuO'), "no figure 'mIuO'"),
        (('--class-counts', 'ade20k_pixels'), 'ade20k_pixels'),
        (('--strength', -1, '--fit-offsets'), 'strength is -1'),
    ],
)
def test_arguments_that_make_no_sense(run_tool, segmentor, tmp_path, capsys, arguments, message):
    config, checkpoint = segmentor
    with pytest.raises(SystemExit) as stopped:
        run_tool(TOOL, config, checkpoint, *arguments, '--out', tmp_path / 'out', cwd=tmp_path)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_scores_that_are_no_numbers(run_tool, segmentor, tmp_path, capsys):
    config, checkpoint = segmentor
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict']['decode_head.conv_seg.bias'][:] = torch.nan
    torch.save(content, tmp_path / 'nan.pth')
    with pytest.raises(SystemExit):
        run_tool(TOOL, config, tmp_path / 'nan.pth', '--out', tmp_path / 'out', cwd=tmp_path)
    error = capsys.readouterr().err
    assert '.png has logits that are not a number' in error


def test_an_empty_validation_set(run_tool, segmentor, tmp_path, capsys):
    config, checkpoint = segmentor
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    options = ('--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}')
    with pytest.raises(SystemExit):
        run_tool(TOOL, config, checkpoint, '--out', tmp_path / 'out', *options, cwd=tmp_path)
    assert 'validation set' in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(run_tool, segmentor, tmp_path, capsys):
    config, checkpoint = segmentor
    (tmp_path / 'out').write_text('a file')
    with pytest.raises(SystemExit):
        run_tool(TOOL, config, checkpoint, '--out', tmp_path / 'out', cwd=tmp_path)
    assert 'out' in capsys.readouterr().err


def test_a_checkpoint_of_another_model(run_tool, segmentor, tmp_path, capsys):
    config, checkpoint = segmentor
    options = ('--cfg-options', 'model.decode_head.num_classes=4')
    with pytest.raises(SystemExit):
        run_tool(TOOL, config, checkpoint, '--out', tmp_path / 'out', *options, cwd=tmp_path)
    assert 'decode_head.conv_seg' in capsys.readouterr().err
