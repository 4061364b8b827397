"""The config that a command line asks for."""

import argparse

import pytest

from lt_mm.engine.launch import add_config_arguments, add_run_arguments, load_config

GRID = """
model = dict(head=dict(alpha=0.2, loss=dict(type='A', smooth=0.1)), keys=[dict(a=1), dict(a=2)])
optimizer = dict(lr=0.1)
variants = {
    'alpha04': dict(model=dict(head=dict(alpha=0.4))),
    'short': {'model.head.loss': dict(_delete_=True, type='B'), 'model.keys.1.a': 3},
    'elsewhere': dict(work_dir='apart'),
}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function: arguments of a tool, and perhaps more lines of the config, to the config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')

    def _load(*arguments, more=''):
        (tmp_path / 'grid.py').write_text(GRID + more)
        parser = argparse.ArgumentParser()
        add_config_arguments(parser)
        add_run_arguments(parser)
        return load_config(parser.parse_args(['grid.py', *arguments]), tmp_path)

    return _load


def test_without_a_variant_the_config_stands(load):
    cfg = load()
    assert (cfg.model.head.alpha, cfg.work_dir) == (0.2, 'work_dirs/grid')
    assert 'variants' not in cfg and 'variant' not in cfg


def test_a_variant_is_merged_and_named(load):
    cfg = load('--variant', 'alpha04')
    assert cfg.model.head == dict(alpha=0.4, loss=dict(type='A', smooth=0.1))
    assert (cfg.variant, cfg.work_dir) == ('alpha04', 'work_dirs/grid_alpha04')
    assert 'variants' not in cfg


def test_a_variant_may_delete_and_change_items_of_lists(load):
    cfg = load('--variant', 'short')
    assert cfg.model == dict(head=dict(alpha=0.2, loss=dict(type='B')), keys=[dict(a=1), dict(a=3)])


@pytest.mark.parametrize('value', ['None', '3', "'model.head.alpha=1'", '[dict(a=1)]'])
def test_a_variant_that_holds_no_settings(load, capsys, value):
    with pytest.raises(SystemExit):
        load('--variant', 'b', more=f'variants = dict(b={value})')
    assert "variant 'b' of grid.py is " in (told := capsys.readouterr().err)
    assert 'give the settings that differ, such as dict(model=dict(...))' in told


def test_a_variant_without_settings(load):
    assert load('--variant', 'b', more='variants = dict(b=dict())').work_dir == 'work_dirs/grid_b'


@pytest.mark.parametrize('name', ['../x', '/x', 'a/b', 'a/', 'a\\b', '.', ''])
def test_the_name_of_a_variant_stays_in_the_work_dir(load, capsys, name):
    if name:
        with pytest.raises(SystemExit):
            load('--variant', name, more=f'variants = {{{name!r}: dict()}}')
        assert f'has a variant {name!r}, which cannot end' in capsys.readouterr().err
    # Where it is not chosen it does no harm.
    assert load(more=f'variants = {{{name!r}: dict()}}').work_dir == 'work_dirs/grid'


def test_options_override_the_variant(load):
    cfg = load('--variant', 'alpha04', '--cfg-options', 'model.head.alpha=0.5')
    assert cfg.model.head.alpha == 0.5


@pytest.mark.parametrize(
    ('arguments', 'more', 'folder'),
    [
        (['--variant', 'alpha04'], "work_dir = 'mine'", 'mine_alpha04'),
        (['--variant', 'elsewhere'], "work_dir = 'mine'", 'apart'),
        (['--variant', 'alpha04', '--work-dir', 'w'], '', 'w'),
        (['--variant', 'alpha04', '--cfg-options', 'work_dir=w'], '', 'w'),
        (['--work-dir', 'w', '--cfg-options', 'work_dir=v'], '', 'w'),
        ([], "work_dir = 'mine'", 'mine'),
    ],
)
def test_folders(load, arguments, more, folder):
    assert load(*arguments, more=more).work_dir == folder


@pytest.mark.parametrize(
    ('more', 'known'),
    [('', 'alpha04, short, elsewhere'), ('variants = dict()', 'nothing, it has no variants')],
)
def test_an_unknown_variant_lists_the_known_ones(load, capsys, more, known):
    with pytest.raises(SystemExit) as caught:
        load('--variant', 'alpha4', more=more)
    assert caught.value.code == 2
    assert f"has no variant 'alpha4': choose from {known}." in capsys.readouterr().err


def test_a_component_without_its_prefix_is_named(tmp_path, capsys):
    heads = "decode_head=dict(loss_decode=[dict(type='{}LogitAdjustedLoss')])"
    for prefix in ('', 'lt_mm.'):
        text = f"default_scope = 'mmseg'\nmodel = dict({heads.format(prefix)})\n"
        (tmp_path / 'config.py').write_text(text)
        parser = argparse.ArgumentParser()
        add_config_arguments(parser)
        args = parser.parse_args([str(tmp_path / 'config.py')])
        if prefix:
            load_config(args, tmp_path)
            continue
        with pytest.raises(SystemExit):
            load_config(args, tmp_path)
        message = "model.decode_head.loss_decode.0.type is 'LogitAdjustedLoss': write 'lt_mm.Logit"
        assert message in capsys.readouterr().err
