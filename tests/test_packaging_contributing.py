"""CONTRIBUTING.md is true: its examples and the changes of its table, made in a copy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
OTHERS = (ROOT / 'tests' / 'data' / 'changes.md').read_text(encoding='utf-8')
SECTIONS = {
    'a loss of logits': 'A loss',
    'a head': 'A head',
    'a sampler': 'A sampler',
    'a data set': 'A data set',
}
TABLE = re.findall(r'^\| (.+?) \| (.*?) \| .*\|$', PAGE, re.M)[1:]
ROWS = {change: files for change, files in TABLE if not change.startswith('-')}


def blocks(change):
    """Path and text of what a change adds, in order."""
    text = PAGE if change in SECTIONS else OTHERS
    (section,) = re.findall(
        rf'^## {SECTIONS.get(change, change)}\n(.*?)(?=^## |\Z)', text, re.S | re.M
    )
    return re.findall(r'^```\w+\n# (\S+)\n(.*?)^```', section, re.S | re.M)


def announce(path, line):
    """Add an import to ``__init__.py``, in its place, and the name to ``__all__``."""
    name = line.split()[-1]
    text = path.read_text()
    found = re.findall(r'^from \S+ import (?:\(.*?\)|[^(\n]+)', text, re.M | re.S)
    before = max(statement for statement in found if statement < line)
    text = text.replace(before, f'{before}\n{line}', 1)
    names = re.search(r'__all__ = \[\n(.*?)\]', text, re.S)
    listed = sorted([*names[1].splitlines(), f"    '{name}',"])
    path.write_text(text.replace(names[1], '\n'.join(listed) + '\n', 1))


def make(tree, change):
    """Make a change in a copy of the repository; returns the paths, new ones first."""
    new, old = [], []
    for name, text in blocks(change):
        path = tree / name
        if not path.exists():
            new.append(name)
            path.write_text(text)
        else:
            old.append(name)
            if name.endswith('__init__.py'):
                announce(path, text.strip())
            else:
                path.write_text(path.read_text() + text)
    return new, old


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of the repository with all changes made, and what each of them touched."""
    copy = tmp_path_factory.mktemp('tree')
    for name in ('lt_mm', 'configs', 'tests', 'docs', 'tools'):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__', '.mim')
        )
    for name in ('pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, copy)
    return copy, {change: make(copy, change) for change in ROWS}


def test_there_are_ten_changes_of_at_most_three_files():
    assert len(ROWS) == 10 and set(SECTIONS) < set(ROWS)
    for change, files in ROWS.items():
        assert len(files.split(', ')) <= 3, change


def test_each_touches_the_files_that_its_row_names(tree):
    _, touched = tree
    for change, files in ROWS.items():
        new, old = touched[change]
        expected = re.findall(r'`(\S+/\S+)`', files) or old
        # The class is named as its test, or the change has no class.
        stems = {Path(name).stem.removeprefix('test_') for name in new}
        assert len(stems) <= 1, change
        named = [name.replace('NAME', *stems) if stems else name for name in expected]
        assert sorted([*new, *old]) == sorted(named), change


def test_pages_that_rows_name_exist():
    pages = re.findall(r'`((?:docs/|README)\S*)`', '\n'.join(re.findall(r'^\| .*', PAGE, re.M)))
    assert len(pages) > 4
    for path in [*pages, *re.findall(r'\]\((\S+?)\)', PAGE)]:
        assert (ROOT / path).is_file(), path


def test_examples_and_changes_pass_their_tests_and_ruff(tree):
    copy, touched = tree
    new = [name for made, _ in touched.values() for name in made if name.endswith('.py')]
    old = [name for _, found in touched.values() for name in found if name.startswith('lt_mm')]
    for command in (('check', '--no-cache'), ('format', '--check', '--no-cache')):
        done = subprocess.run(
            [shutil.which('ruff', path=str(Path(sys.executable).parent)), *command, *new, *old],
            cwd=copy,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout
    (copy / 'tests' / 'test_here.py').write_text(
        'from pathlib import Path\n\nimport lt_mm\nfrom lt_mm.engine.launch import select_variant\n'
        'from lt_mm.structures import ClassCounts\nfrom mmengine.config import Config\n\n'
        'ROOT = Path(__file__).resolve().parents[1]\n\n\n'
        'def test_copy():\n    assert Path(lt_mm.__file__).is_relative_to(ROOT)\n\n\n'
        "def test_counts():\n    assert ClassCounts.load('pond_life_pixels').counts[3] == 9\n\n\n"
        'def test_variant():\n'
        "    name = 'configs/digit_scenes/balanced-softmax_fcn_r18_digits.py'\n"
        '    cfg = Config.fromfile(ROOT / name)\n'
        "    select_variant(cfg, 'alpha07')\n"
        '    assert cfg.model.decode_head.loss_decode.alpha == 0.7\n'
    )
    tests = [name for name in new if name.startswith('tests')]
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-n', '0', '-q', *tests, 'tests/test_here.py'],
        cwd=copy,
        env={**os.environ, 'PYTHONPATH': str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_beside_the_config_works_as_it_stands(tmp_path):
    (name, text), *_ = blocks('a loss of logits')
    (tmp_path / Path(name).name).write_text(text)
    config = ROOT / 'tests' / 'data' / 'tiny_segmentation.py'
    (tmp_path / 'mine.py').write_text(
        f"_base_ = '{config}'\n"
        "custom_imports = dict(imports=['poly1_loss'])\n"
        "model = dict(decode_head=dict(loss_decode=dict(type='lt_mm.Poly1Loss', epsilon=2.0)))\n"
    )
    program = (
        'from mmengine.config import Config\nfrom mmengine.registry import MODELS\n'
        "cfg = Config.fromfile('mine.py')\n"
        'assert MODELS.build(cfg.model.decode_head.loss_decode).epsilon == 2\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        # Where a config lies is no place that modules are looked for; a user's package is.
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
