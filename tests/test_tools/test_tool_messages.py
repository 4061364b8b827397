import runpy

import pytest
from mmengine.config import Config


@pytest.fixture
def stopped(run_tool, capsys):
    """Run a tool that must leave with code 2, and return the one line it wrote to stderr."""

    def run(name, *argv, cwd):
        with pytest.raises(SystemExit) as caught:
            run_tool(name, *argv, cwd=cwd)
        assert caught.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        return lines[0]

    return run


def test_missing_data_stops_before_the_model_is_built(stopped, trained, tmp_path):
    text = (trained / 'configs' / 'tiny.py').read_text()
    config = tmp_path / 'missing.py'
    config.write_text(
        text.replace('EncoderDecoder', 'NoSuchModel').replace(str(trained / 'data'), 'no/data')
    )
    line = stopped('train.py', config, cwd=tmp_path)
    assert str(tmp_path / 'no' / 'data') in line
    assert 'train_dataloader.dataset.data_root=PATH' in line and 'test_dataloader' not in line
    checkpoint = tmp_path / 'any.pth'
    checkpoint.touch()
    line = stopped('test.py', config, checkpoint, cwd=tmp_path)
    assert 'test_dataloader.dataset.data_root=PATH' in line and 'train_dataloader' not in line
    assert not (tmp_path / 'work_dirs').exists()


def test_an_empty_folder_stops_before_the_model_is_built(stopped, trained, tmp_path):
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    (tmp_path / 'data' / 'labels').mkdir()
    config, checkpoint = trained / 'configs' / 'tiny.py', tmp_path / 'any.pth'
    checkpoint.touch()
    for images in (tmp_path / 'data' / 'images', trained / 'data' / 'images'):
        for name, argv in (('train', []), ('test', [checkpoint])):
            options = [
                f'{name}_dataloader.dataset.data_root={images.parent}',
                f'{name}_dataloader.dataset.img_suffix=.tif',
            ]
            line = stopped(f'{name}.py', config, *argv, '--cfg-options', *options, cwd=tmp_path)
            assert f'{images} holds no file' in line
            assert f'{name}_dataloader.dataset.data_prefix.img_path=PATH' in line
            assert ("'.tif' (img_suffix)" in line) == (images.parent == trained / 'data')


def test_mixed_precision_without_accelerator(stopped, trained, tmp_path, monkeypatch):
    monkeypatch.setattr('lt_mm.engine.launch.get_device', lambda: 'cpu')
    config = trained / 'configs' / 'tiny.py'
    assert 'needs an accelerator' in stopped('train.py', config, '--amp', cwd=tmp_path)
    line = stopped(
        'train.py', config, '--cfg-options', 'optim_wrapper.type=AmpOptimWrapper', cwd=tmp_path
    )
    assert 'needs an accelerator' in line


def test_mixed_precision_with_accelerator(tools, trained, monkeypatch):
    monkeypatch.setattr('lt_mm.engine.launch.get_device', lambda: 'cuda')
    train = runpy.run_path(str(tools / 'train.py'))
    cfg = Config.fromfile(trained / 'configs' / 'tiny.py')
    train['set_mixed_precision'](cfg, True)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    cfg.optim_wrapper.loss_scale = 512.0
    train['set_mixed_precision'](cfg, True)
    assert cfg.optim_wrapper.loss_scale == 512.0
    cfg.optim_wrapper.type = 'SomeOtherWrapper'
    with pytest.raises(SystemExit):
        train['set_mixed_precision'](cfg, True)


@pytest.mark.parametrize(
    ('name', 'argv', 'told'),
    [
        ('train.py', ['absent.py'], 'absent.py'),
        ('train.py', ['tiny.py', '--resume', 'absent.pth'], 'absent.pth'),
        ('test.py', ['tiny.py', 'absent.pth'], 'absent.pth'),
        ('test.py', ['tiny.py', 'tiny.py', '--out', 'x.pkl'], 'x.pkl, but the predictions of'),
        ('test.py', ['tiny.py', 'tiny.py', '--out', 'tiny.py'], 'tiny.py, which is a file'),
        (
            'test.py',
            ['tiny.py', 'tiny.py', '--tta', '--cfg-options', 'tta_model=None'],
            'tta_model',
        ),
        (
            'test.py',
            [
                'tiny.py',
                'tiny.py',
                '--out',
                'd',
                '--cfg-options',
                'test_evaluator.type=CityscapesMetric',
            ],
            'CityscapesMetric',
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(stopped, trained, name, argv, told):
    assert told in stopped(name, *argv, cwd=trained / 'configs')


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_help_explains_every_option(run_tool, capsys, tmp_path, name):
    with pytest.raises(SystemExit) as caught:
        run_tool(name, '--help', cwd=tmp_path)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ('config', '--work-dir', '--cfg-options', '--launcher'):
        assert option in text
