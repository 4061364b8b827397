import json
import shutil

import numpy as np
import pytest
from PIL import Image


def logged_iterations(work_dir):
    """Return the iterations in the scalars of all runs in ``work_dir``, in their order."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line['step'] for line in lines if 'loss' in line]


def log_of(folder):
    return ''.join(path.read_text() for path in sorted(folder.glob('*/*.log')))


def test_training_names_the_work_dir_after_the_config(trained):
    work_dir = trained / 'elsewhere' / 'work_dirs' / 'tiny'
    assert (work_dir / 'iter_2.pth').is_file()
    assert logged_iterations(work_dir) == [1, 2]
    assert 'SyncBatchNorm (SyncBN) layers' in log_of(work_dir)


def test_resume_goes_on_from_the_latest_checkpoint(run_tool, trained, tmp_path):
    checkpoint = trained / 'elsewhere' / 'work_dirs' / 'tiny' / 'iter_2.pth'
    config = trained / 'configs' / 'tiny.py'
    four = ('--cfg-options', 'train_cfg.max_iters=4')
    run_tool('train.py', config, '--resume', checkpoint, '--work-dir', 'w', *four, cwd=tmp_path)
    assert logged_iterations(tmp_path / 'w') == [3, 4]
    assert (tmp_path / 'w' / 'iter_4.pth').is_file()

    five = ('--cfg-options', 'train_cfg.max_iters=5', 'load_from=never_read.pth')
    run_tool('train.py', config, '--resume', '--work-dir', 'w', *five, cwd=tmp_path)
    assert logged_iterations(tmp_path / 'w') == [3, 4, 5]


def test_first_start_with_resume_begins_with_the_weights_of_load_from(run_tool, trained, tmp_path):
    checkpoint = trained / 'elsewhere' / 'work_dirs' / 'tiny' / 'iter_2.pth'
    run_tool(
        'train.py',
        trained / 'configs' / 'tiny.py',
        '--work-dir',
        'w',
        '--resume',
        '--cfg-options',
        f'load_from={checkpoint}',
        'train_cfg.max_iters=1',
        cwd=tmp_path,
    )
    assert logged_iterations(tmp_path / 'w') == [1]
    assert f'Load checkpoint from {checkpoint}' in log_of(tmp_path / 'w')


@pytest.mark.parametrize('last', ['', 'iter_9.pth', '/another/machine/iter_4.pth', None])
def test_resume_finds_what_can_be_read(run_tool, trained, tmp_path, last):
    shutil.copytree(trained / 'elsewhere' / 'work_dirs' / 'tiny', tmp_path / 'w')
    command = ('train.py', trained / 'configs' / 'tiny.py', '--work-dir', 'w', '--resume')
    (tmp_path / 'w' / 'iter_4.pth').write_bytes(b'')
    (tmp_path / 'w' / 'last_checkpoint').unlink()
    if last is not None:
        (tmp_path / 'w' / 'last_checkpoint').write_text(last)
    run_tool(*command, '--cfg-options', 'train_cfg.max_iters=3', cwd=tmp_path)
    assert logged_iterations(tmp_path / 'w') == [1, 2, 3]
    assert (tmp_path / 'w' / 'last_checkpoint').read_text() == 'iter_3.pth'
    log = log_of(tmp_path / 'w')
    assert f'Not resumed from {tmp_path / "w" / "iter_4.pth"}' in log
    # There is nothing to read: it is said, and not begun from the start.
    for path in (tmp_path / 'w').glob('*.pth'):
        path.write_bytes(b'')
    with pytest.raises(ValueError, match='can be resumed from'):
        run_tool(*command, '--cfg-options', 'train_cfg.max_iters=3', cwd=tmp_path)
    for path in (tmp_path / 'w').glob('*.pth'):
        path.unlink()
    with pytest.raises(ValueError, match=r"last_checkpoint: it names 'iter_3\.pth', which is not"):
        run_tool(*command, '--cfg-options', 'train_cfg.max_iters=3', cwd=tmp_path)


def test_resume_of_the_config_stands_without_the_flag(run_tool, trained, tmp_path):
    checkpoint = trained / 'elsewhere' / 'work_dirs' / 'tiny' / 'iter_2.pth'
    run_tool(
        'train.py',
        trained / 'configs' / 'tiny.py',
        '--work-dir',
        'w',
        '--cfg-options',
        'resume=True',
        f'load_from={checkpoint}',
        'train_cfg.max_iters=3',
        cwd=tmp_path,
    )
    assert logged_iterations(tmp_path / 'w') == [3]


@pytest.mark.parametrize(
    ('flags', 'options'),
    [
        ([], []),
        (['--tta'], []),
        ([], ['visualizer=None', 'default_hooks=None']),
    ],
    ids=['plain', 'tta', 'no visualizer in the config'],
)
def test_evaluation_prints_miou_and_keeps_predictions(
    run_tool, trained, tmp_path, capsys, flags, options
):
    checkpoint = trained / 'elsewhere' / 'work_dirs' / 'tiny' / 'iter_2.pth'
    places = ('--work-dir', 'w', '--out', 'labels', '--show-dir', 'painted')
    options = ('--cfg-options', 'resume=True', *options)
    config = trained / 'configs' / 'tiny.py'
    run_tool('test.py', config, checkpoint, *places, *flags, *options, cwd=tmp_path)
    assert 'mIoU:' in capsys.readouterr().out
    results = json.loads(next((tmp_path / 'w').glob('*/*.json')).read_text())
    assert 0 <= results['mIoU'] <= 100
    for i in range(3):
        prediction = np.asarray(Image.open(tmp_path / 'labels' / f'{i}.png'))
        assert prediction.shape == (64, 64) and prediction.max() < 3
    assert len(list((tmp_path / 'painted').rglob('*.png'))) == 3


def test_classification_config_trains_and_evaluates(run_tool, write_config, tmp_path, capsys):
    folders = dict(cat=256, dog=256)
    write_config(tmp_path / 'cls.py', 'tiny_classification.py', folders, tmp_path / 'data')
    run_tool('train.py', 'cls.py', '--work-dir', 'w', cwd=tmp_path)
    places = ('--work-dir', 'w', '--out', 'out', '--show-dir', 'painted')
    run_tool('test.py', 'cls.py', 'w/epoch_1.pth', *places, cwd=tmp_path)
    assert 'accuracy/top1' in capsys.readouterr().out
    # mmpretrain names a picture by its file alone, so the folders cat and dog share theirs.
    assert len(list((tmp_path / 'painted').glob('*.png'))) == 3
    assert (tmp_path / 'out' / 'predictions.pkl').stat().st_size > 0
    # The name of a file is that of a file, as in the tools of mmpretrain.
    run_tool('test.py', 'cls.py', 'w/epoch_1.pth', '--out', 'kept/x.pkl', cwd=tmp_path)
    assert (tmp_path / 'kept' / 'x.pkl').is_file()
