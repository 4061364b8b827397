"""Tools run nothing that a checkpoint brings, unless it is said to be trusted."""

import contextlib
import pathlib
import shutil

import pytest
import torch

from lt_mm.checkpoints import CodeInCheckpointError, read_checkpoint, trust_checkpoints


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return pathlib.Path.touch, (self.trace,)


@pytest.fixture(autouse=True)
def distrust():
    yield
    trust_checkpoints(False)


@pytest.fixture
def bomb(trained, tmp_path):
    """A checkpoint of the training that leaves a trace when it is loaded."""
    content = read_checkpoint(trained / 'elsewhere' / 'work_dirs' / 'tiny' / 'iter_2.pth')
    content['meta']['author'] = Bomb(tmp_path / 'trace')
    torch.save(content, tmp_path / 'iter_2.pth')
    return tmp_path / 'iter_2.pth'


def latest(tmp_path, bomb):
    (tmp_path / 'w').mkdir()
    shutil.copy(bomb, tmp_path / 'w')
    (tmp_path / 'w' / 'last_checkpoint').write_text('iter_2.pth')
    return 'train.py', ['--resume']


DOORS = dict(
    test=lambda tmp_path, bomb: ('test.py', [bomb]),
    resume=lambda tmp_path, bomb: ('train.py', ['--resume', bomb]),
    resume_latest=latest,
    load_from=lambda tmp_path, bomb: ('train.py', ['--cfg-options', f'load_from={bomb}']),
    backbone=lambda tmp_path, bomb: (
        'train.py',
        [
            '--cfg-options', 'model.backbone.init_cfg.type=Pretrained',
            f'model.backbone.init_cfg.checkpoint={bomb}',
            'model.backbone.init_cfg.prefix=backbone.',
        ],
    ),
    model=lambda tmp_path, bomb: (
        'train.py',
        [
            '--cfg-options', 'model.init_cfg.type=Pretrained', f'model.init_cfg.checkpoint={bomb}',
        ],
    ),
)  # fmt: skip


@pytest.mark.parametrize('door', DOORS)
def test_every_door_refuses_and_opens_when_told(run_tool, trained, bomb, tmp_path, door):
    tool, arguments = DOORS[door](tmp_path, bomb)
    command = (tool, trained / 'configs' / 'tiny.py', *arguments)
    length = [] if '--cfg-options' in command else ['--cfg-options']
    rest = (*length, 'train_cfg.max_iters=3')
    for _ in range(2):
        # mmengine's wrapper of an error of a hook or a module keeps its words.
        with pytest.raises(Exception, match=r"iter_2\.pth' needs 'pathlib.*--trust-checkpoint"):
            run_tool(*command, *rest, '--work-dir', 'w', cwd=tmp_path)
    assert not (tmp_path / 'trace').exists()
    trusted = (*command, *rest, '--work-dir', 'w', '--trust-checkpoint')
    run_tool(*trusted, cwd=tmp_path)
    assert (tmp_path / 'trace').exists()
    # Trust ends with the command.
    (tmp_path / 'trace').unlink()
    with pytest.raises((CodeInCheckpointError, ValueError)):
        run_tool('test.py', trained / 'configs' / 'tiny.py', bomb, '--work-dir', 'x', cwd=tmp_path)
    assert not (tmp_path / 'trace').exists()


def test_export(run_tool, trained, bomb, tmp_path, capsys):
    command = ('model_converters/export.py', trained / 'configs' / 'tiny.py', bomb, 'exported')
    with pytest.raises(SystemExit):
        run_tool(*command, cwd=tmp_path)
    assert '--trust-checkpoint' in capsys.readouterr().err
    assert not (tmp_path / 'trace').exists()
    with pytest.raises(SystemExit):
        run_tool(*command, '--trust-checkpoint', cwd=tmp_path)
    assert 'the model has nothing of lt_mm' in capsys.readouterr().err
    assert (tmp_path / 'trace').exists()


READERS = {
    'alpha_sweep.py': ['--out', 'sweep'],
    'diagnose.py': ['--out', 'diagnosis'],
    'confusion_matrix.py': [],
    'benchmark.py': [],
}


@pytest.mark.parametrize('tool', READERS)
def test_analysis(run_tool, trained, bomb, tmp_path, capsys, tool):
    command = (f'analysis_tools/{tool}', trained / 'configs' / 'tiny.py', bomb, *READERS[tool])
    with pytest.raises((SystemExit, CodeInCheckpointError)) as refused:
        run_tool(*command, cwd=tmp_path)
    assert '--trust-checkpoint' in capsys.readouterr().err + str(refused.value)
    assert not (tmp_path / 'trace').exists()
    with contextlib.suppress(SystemExit):
        run_tool(*command, '--trust-checkpoint', cwd=tmp_path)
    assert (tmp_path / 'trace').exists()
