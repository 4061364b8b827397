"""What a user has who installs lt_mm from a wheel, or in place, and works in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ('configs', 'tools', 'model-index.yml')

USE = """
import sys
from pathlib import Path

import lt_mm
from mmengine import hub
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import package_utils


def refuse(command):
    raise AssertionError(f'{command} was run')


package_utils.call_command = refuse
home = Path(lt_mm.__file__).parent
assert str(home) == sys.argv[1], home
Path('mine.py').write_text(
    "_base_ = 'lt_mm::gml_fcn_r50_ade20k.py'\\n"
    'model = dict(pretrained=None, teacher=None)\\n'
)
cfg = Config.fromfile('mine.py')
assert Path(hub.get_config('lt_mm::gml_fcn_r50_ade20k.py').filename).is_relative_to(home)
init_default_scope(cfg.default_scope)
from mmseg.registry import MODELS

model = MODELS.build(cfg.model)
assert type(model).__module__.startswith('lt_mm.')
assert model.decode_head.contrast.queue is not None
from lt_mm.benchmark.methods import ROOT
from lt_mm.structures import ClassCounts

assert ClassCounts.load('ade20k_pixels').counts[0] == 737138625
assert (ROOT / 'tools' / 'train.py').is_file() and (ROOT / 'configs').is_dir()
"""
TRAIN = """
_base_ = 'tiny_segmentation.py'
model = dict(decode_head=dict(type='lt_mm.GMLFCNHead'))
custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
"""


def run(*command, cwd, fails=False):
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of the repository, in which a build may leave what it likes."""
    copy = tmp_path_factory.mktemp('tree') / 'lt_mm'
    for name in ('lt_mm', 'configs', 'tools', 'tests', 'docs'):
        ignored = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    return copy


@pytest.fixture
def environment(tmp_path):
    """An environment that has what lt_mm needs, but not lt_mm."""
    folder = tmp_path / 'env'
    run(sys.executable, '-m', 'venv', '--without-pip', folder, cwd=tmp_path)
    python = folder / 'bin' / 'python'
    where = 'import sysconfig; print(sysconfig.get_paths()["purelib"])'
    packages = Path(run(python, '-c', where, cwd=tmp_path).strip())
    # Listed there, a folder is searched for modules, and its own .pth files are not read.
    (packages / 'stack.pth').write_text(sysconfig.get_paths()['purelib'])
    assert 'No module named' in run(python, '-c', 'import lt_mm', cwd=tmp_path, fails=True)
    return python, packages


def install(python, *what, cwd):
    pip = (sys.executable, '-m', 'pip', '--python', python, '--disable-pip-version-check')
    run(*pip, 'install', '-q', '--no-deps', '--no-compile', *what, cwd=cwd)


def train(python, package, folder):
    """Train two iterations with a config and data of one's own."""
    for kind, high, shape in (('images', 256, (64, 64, 3)), ('labels', 3, (64, 64))):
        (folder / 'data' / kind).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(high, size=(2, *shape), dtype=np.uint8)
        for index in range(2):
            Image.fromarray(pixels[index]).save(folder / 'data' / kind / f'{index}.png')
    text = (ROOT / 'tests' / 'data' / 'tiny_segmentation.py').read_text()
    (folder / 'tiny_segmentation.py').write_text(text.replace('DATA', 'data'))
    (folder / 'mine.py').write_text(TRAIN)
    # The file that `mim train lt_mm mine.py` runs.
    log = run(python, package / '.mim' / 'tools' / 'train.py', 'mine.py', cwd=folder)
    assert 'loss_gml' in log and (folder / 'work_dirs/mine/iter_2.pth').is_file()
    # A config that is not here is looked for where the tools are.
    name = 'configs/gml_fcn_r50_ade20k.py'
    log = run(
        python, package / '.mim' / 'tools' / 'test.py', name, 'none.pth', cwd=folder, fails=True
    )
    assert 'none.pth' in log and 'Config' not in log


def test_wheel_is_complete_and_works_in_an_empty_folder(tree, environment, tmp_path):
    build = 'from setuptools.build_meta import build_sdist; import sys; build_sdist(sys.argv[1])'
    run(sys.executable, '-W', 'ignore', '-c', build, tmp_path, cwd=tree)
    (archive,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        assert not [name for name in file.getnames() if '.mim' in name]
    pip = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
    run(*pip, 'wheel', '-q', '--no-deps', archive, '-w', tmp_path, cwd=tmp_path)
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as file:
        found = set(file.namelist())
    expected = {
        f'lt_mm/.mim/{path.relative_to(tree)}'
        for name in SHIPPED
        for path in [tree / name, *(tree / name).rglob('*')]
        if path.is_file()
    }
    expected |= {str(path.relative_to(tree)) for path in (tree / 'lt_mm').rglob('*.py')}
    for data in ('*.json', '*.html'):
        expected |= {str(path.relative_to(tree)) for path in (tree / 'lt_mm').rglob(data)}
    assert {name for name in found if name.startswith('lt_mm/')} == expected
    assert {Path(name).name for name in found - expected} >= {'LICENSE', 'NOTICE', 'METADATA'}
    python, packages = environment
    install(python, wheel, cwd=tmp_path)
    (tmp_path / 'empty').mkdir()
    run(python, '-W', 'ignore', '-c', USE, packages / 'lt_mm', cwd=tmp_path / 'empty')
    train(python, packages / 'lt_mm', tmp_path / 'empty')
    assert os.access(packages / 'lt_mm/.mim/tools/dist_train.sh', os.X_OK)


def test_in_place_configs_and_tools_are_those_of_the_repository(tree, environment, tmp_path):
    (tree / 'lt_mm' / '.mim' / 'configs').mkdir(parents=True)
    (tree / 'lt_mm' / '.mim' / 'configs' / 'stale.py').touch()
    python, _ = environment
    install(python, '-e', tree, cwd=tmp_path)
    links = {path.name: path.resolve() for path in (tree / 'lt_mm' / '.mim').iterdir()}
    assert links == {name: tree / name for name in SHIPPED}
    (tmp_path / 'empty').mkdir()
    run(python, '-W', 'ignore', '-c', USE, tree / 'lt_mm', cwd=tmp_path / 'empty')


def test_a_build_has_no_file_of_an_earlier_one(tree, tmp_path):
    for stale in ('lt_mm/gone.py', 'lt_mm/.mim/configs/gone.py'):
        (tmp_path / stale).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stale).touch()
    run(sys.executable, '-W', 'ignore', 'setup.py', 'build_py', '-d', tmp_path, cwd=tree)
    assert (tmp_path / 'lt_mm/.mim/configs/gml_fcn_r50_ade20k.py').is_file()
    assert not list(tmp_path.rglob('gone.py'))
