"""Texts of configs are compared without being run."""

from pathlib import Path

import pytest
from mmengine.config import Config

from lt_mm.engine.config_difference import first_difference, settings_of

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize(
    'name', ['gml_fcn_r50_ade20k.py', 'cifar_lt/ride-kd_r32_cifar100-lt_200e.py']
)
def test_settings_are_those_that_mmengine_reads(name):
    text = Config.fromfile(CONFIGS / name).pretty_text
    assert first_difference(settings_of(text), Config.fromstring(text, '.py').to_dict()) is None


def test_keys_that_are_no_names():
    cfg = dict(a={'x.y': 1, 'z': {1: [(-1,), None]}})
    assert first_difference(settings_of(Config(cfg).pretty_text), cfg) is None


def test_nothing_is_run(tmp_path):
    file = tmp_path / 'run'
    read = settings_of(f"a = open({str(file)!r}, 'w')\nb = 1")
    assert read['b'] == 1 and read['a'].startswith('open(')
    assert not file.exists()
