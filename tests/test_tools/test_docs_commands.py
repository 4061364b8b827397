"""Every command of README and docs is carried out, in small; tutorials as they stand."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('**/*.md'))]
TUTORIALS = sorted((ROOT / 'docs' / 'start').glob('*.md'))
# What makes the tutorials short: text to text.
SMALLER = (
    ('max_iters=600, val_interval=600', 'max_iters=4, val_interval=4'),
    ('begin=0, end=100', 'begin=0, end=1'),
    ('begin=100, end=600', 'begin=1, end=4'),
    ('iter_600.pth', 'iter_4.pth'),
    ('max_epochs=60, val_interval=60', 'max_epochs=1, val_interval=1'),
    ('end=5, convert', 'end=1, convert'),
    ('begin=5, end=60', 'begin=1, end=2'),
    ('epoch_60.pth', 'epoch_1.pth'),
    ('--budget 300', '--budget 2'),
    ('--budget 200', '--budget 2'),
)
SCENES = 'configs/digit_scenes/ce_fcn_r18_digits.py'
DIGITS = 'configs/digits_lt/ce_resnet8_digits-lt.py'


def commands_of(text):
    for block in re.findall(r'```bash\n(.*?)```', text, re.S):
        for line in block.replace('\\\n', ' ').splitlines():
            if line.startswith('.venv/bin/python '):
                yield shlex.split(line)[1:]


@pytest.mark.parametrize('page', TUTORIALS, ids=lambda page: page.stem)
@pytest.mark.slow
def test_a_tutorial_from_data_to_a_model(run_tool, tmp_path, monkeypatch, page):
    """Trainings of a few iterations, everything else as it stands: half a minute a tutorial."""
    text = page.read_text()
    applied = [(long, short) for long, short in SMALLER if long in text]
    assert len(applied) >= 5
    for long, short in applied:
        text = text.replace(long, short)
    for title, body in re.findall(r'```python title="(.*?)"\n(.*?)```', text, re.S):
        (tmp_path / title).write_text(body)
    commands = list(commands_of(text))
    assert len(commands) >= 8
    for name, *argv in commands:
        # runpy takes a path outside the tools as it is.
        name = name.removeprefix('tools/') if name.startswith('tools/') else tmp_path / name
        run_tool(name, *argv, cwd=tmp_path)
    assert list(tmp_path.glob('exported*/weights.pth'))
    assert list(tmp_path.glob('work_dirs/compare/*/comparison.html'))


def test_tools_and_configs_of_all_commands_exist():
    found = [argv for page in PAGES for argv in commands_of(page.read_text())]
    assert len(found) > 40
    for name, *argv in found:
        assert (ROOT / name).is_file() or name == 'make_images.py', name
        for path in argv:
            if path.startswith('configs/'):
                assert (ROOT / path).is_file(), path


def small_command(argv, checkpoint):
    """The command with what its placeholders stand for, and small where it would train."""
    named = dict(CONFIG=DIGITS, CHECKPOINT=str(checkpoint))
    return [named.get(word, word) for word in argv]


TRIED = [
    (page.stem, argv)
    for page in PAGES
    if page.parent.name == 'tools'
    for argv in commands_of(page.read_text())
]


@pytest.fixture(scope='module')
def digits(run_tool, tmp_path_factory):
    """Checkpoint of a classifier of digits."""
    home = tmp_path_factory.mktemp('digits')
    run_tool('train.py', DIGITS, '--cfg-options', 'train_cfg.max_epochs=1', cwd=home)
    return home / 'work_dirs' / 'ce_resnet8_digits-lt' / 'epoch_1.pth'


@pytest.mark.parametrize(('page', 'argv'), TRIED, ids=lambda x: x if isinstance(x, str) else x[0])
def test_commands_of_the_pages_of_tools(run_tool, digits, tmp_path, page, argv):
    name, *argv = small_command(argv, digits)
    argv = ['2' if word == '1000' else '1' if word == '3' else word for word in argv]
    if name == 'tools/compare.py':
        pytest.skip('carried out by the tutorials')
    run_tool(name.removeprefix('tools/'), *argv, cwd=tmp_path)


ELSEWHERE = [
    (page.stem, argv)
    for page in PAGES
    if page.parent.name not in ('tools', 'start')
    for argv in commands_of(page.read_text())
    if argv[0].startswith(('tools/train.py', 'tools/model_converters', 'tools/analysis_tools/get'))
]


@pytest.mark.slow
@pytest.mark.parametrize(('page', 'argv'), ELSEWHERE, ids=str)
def test_trainings_and_exports_of_other_pages(run_tool, digits, tmp_path, capsys, page, argv):
    """Trainings of an epoch; where the data are not here, the command says so and stops."""
    name, *argv = small_command(argv, digits)
    if '--expert' in argv or any('digit_scenes' in word for word in argv):
        pytest.skip('test_export_tool and test_train_demo_configs train these')
    if any('cifar_lt' in word for word in argv):
        pytest.skip('its data would be downloaded; test_every_config builds it')
    if any(word.startswith('configs/digits_lt') for word in argv) or str(digits) in argv:
        if name == 'tools/train.py':
            stage = 'earlier_stages.stage1.cfg_options.train_cfg.max_epochs=1'
            argv += ['--cfg-options', 'train_cfg.max_epochs=1']
            argv += [stage] if 'mislas' in argv[0] else []
        run_tool(name.removeprefix('tools/'), *argv, cwd=tmp_path)
        return
    with pytest.raises(SystemExit, match='2'):
        run_tool(name.removeprefix('tools/'), *argv, cwd=tmp_path)
    assert 'missing' in capsys.readouterr().err
