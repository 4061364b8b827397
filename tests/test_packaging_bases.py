"""Configs inherit from those of lt_mm by name, from any folder, and nothing is installed for it."""

import subprocess
import sys
from pathlib import Path

import pytest
from mmengine import hub
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import package_utils

import lt_mm
from lt_mm import compat
from lt_mm.registry import MODELS

NAME = 'gml_fcn_r50_ade20k.py'
HOME = Path(lt_mm.__file__).parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder, and no pip."""

    def refuse(command):
        raise AssertionError(f'{command} was run')

    monkeypatch.setattr(package_utils, 'call_command', refuse)
    monkeypatch.chdir(tmp_path)


def scopes(config):
    """Every ``_scope_`` in a config."""
    if isinstance(config, dict):
        own = {config['_scope_']} if config.get('_scope_') else set()
        return own.union(*map(scopes, config.values()))
    return set().union(*map(scopes, config)) if isinstance(config, list | tuple) else set()


def test_config_in_an_empty_folder_inherits_and_builds():
    Path('mine.py').write_text(f"_base_ = 'lt_mm::{NAME}'\nmodel = dict(pretrained=None)\n")
    cfg = Config.fromfile('mine.py')
    assert cfg.model.decode_head.type == 'lt_mm.GMLFCNHead'
    # Registries of scope lt_mm would not find what is mmseg's.
    assert scopes(cfg.to_dict()) <= {'mmseg'}
    init_default_scope(cfg.default_scope)
    assert hasattr(MODELS.build(cfg.model.decode_head), 'contrast')


def test_base_is_the_config_itself():
    cfg = Config.fromstring(f"_base_ = 'lt_mm::{NAME}'", '.py')
    own = Config.fromfile(HOME / '.mim' / 'configs' / NAME)
    assert cfg.to_dict() == own.to_dict()


@pytest.mark.parametrize('name', [NAME, '_base_/default_runtime.py'])
def test_get_config(name):
    cfg = hub.get_config(f'lt_mm::{name}')
    assert Path(cfg.filename) == HOME / '.mim' / 'configs' / name


def test_get_config_where_the_hub_was_imported_first():
    program = (
        'from mmengine import hub\nimport lt_mm\n'
        f'assert hub.get_config("lt_mm::{NAME}").default_scope == "mmseg"'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    'read', [hub.get_config, lambda name: Config.fromstring(f'_base_ = {name!r}', '.py')]
)
def test_a_misspelt_name_and_a_missing_installation_say_so(read, monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'lt_mm::ade/none\.py is no config.*spelling'):
        read('lt_mm::ade/none.py')
    monkeypatch.setattr(compat, '_CONFIGS', tmp_path / '.mim' / 'configs')
    with pytest.raises(FileNotFoundError, match=r'pip install -e \.'):
        read(f'lt_mm::{NAME}')


def test_other_packages_are_found_as_before():
    assert hub.get_config('mmpretrain::_base_/default_runtime.py').default_scope == 'mmpretrain'
    assert hub.get_config('mmseg::_base_/default_runtime.py').default_scope == 'mmseg'
    cfg = Config.fromstring("_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'", '.py')
    assert cfg.model._scope_ == 'mmpretrain'
    with pytest.raises(ValueError, match='package name and relative config path'):
        hub.get_config('mmseg::none.py')
