"""Every loader of mmengine reads what mmengine saves, and runs nothing of a file."""

import builtins
import os
import pathlib

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.logging import history_buffer as history_module
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as loaders
from mmengine.runner import load_checkpoint

from lt_mm.checkpoints import CodeInCheckpointError, read_checkpoint, trust_checkpoints
from lt_mm.models.teachers.frozen_network import FrozenNetwork


class Reduced:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call

    def __call__(self): ...


class Own:
    """A type of a user's own."""


@pytest.fixture(autouse=True)
def distrust():
    yield
    trust_checkpoints(False)


@pytest.fixture
def bomb(tmp_path):
    """A file that leaves a trace when it is loaded, and whether it did."""
    trace = tmp_path / 'trace'
    content = dict(
        state_dict={'layer.weight': torch.ones(1, 1)},
        meta=dict(author=Reduced(pathlib.Path.touch, trace)),
    )
    torch.save(content, tmp_path / 'bomb.pth')
    return str(tmp_path / 'bomb.pth'), trace.exists


class Net(BaseModule):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layer = torch.nn.Linear(1, 1, bias=False)


def pretrained(path, **settings):
    Net(init_cfg=dict(type='Pretrained', checkpoint=path, **settings)).init_weights()


DOORS = dict(
    load_checkpoint=lambda path: load_checkpoint(Net(), path, map_location='cpu'),
    pretrained=pretrained,
    pretrained_part=lambda path: pretrained(path, prefix='layer.'),
    loader=loaders.CheckpointLoader.load_checkpoint,
    read_checkpoint=read_checkpoint,
)


@pytest.mark.parametrize('door', DOORS)
def test_a_bomb_is_refused_at_every_door(bomb, door):
    path, went_off = bomb
    told = (
        r"bomb\.pth' needs 'pathlib\.\w+' imported.*pass --trust-checkpoint.*LT_MM_TRUST_CHECKPOINT"
    )
    with pytest.raises(CodeInCheckpointError, match=told):
        DOORS[door](path)
    assert not went_off()


@pytest.mark.parametrize('how', ['function', 'variable'])
def test_what_is_trusted_is_loaded_as_it_is(bomb, monkeypatch, how):
    path, went_off = bomb
    if how == 'function':
        trust_checkpoints()
    else:
        monkeypatch.setenv('LT_MM_TRUST_CHECKPOINT', '1')
    loaders.CheckpointLoader.load_checkpoint(path)
    assert went_off()


@pytest.mark.parametrize(
    'variable', ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_WEIGHTS_ONLY_LOAD']
)
def test_switches_of_torch_are_left_as_they_were(bomb, monkeypatch, variable):
    path, went_off = bomb
    monkeypatch.setenv(variable, '1')
    with pytest.raises(CodeInCheckpointError):
        loaders.CheckpointLoader.load_checkpoint(path)
    assert not went_off() and os.environ[variable] == '1'


@pytest.mark.parametrize(
    'address', ['torchvision://a', 'open-mmlab://a', 'openmmlab://b', 'mmcls://a']
)
def test_model_zoos(bomb, monkeypatch, tmp_path, address):
    path, went_off = bomb
    url = pathlib.Path(path).as_uri()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    for name in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        # A path, which mmengine's own loader of files reads, stands for a name of a zoo.
        urls = dict(a=url.replace('file', 'http'), b=path)
        monkeypatch.setattr(loaders, name, lambda urls=urls: urls)
    monkeypatch.setattr(loaders, 'get_deprecated_model_names', dict)
    monkeypatch.setattr(
        loaders, 'load_url', lambda filename, **kwargs: torch.load(path, weights_only=False)
    )
    with pytest.raises(CodeInCheckpointError, match=f"'{address}' needs .*--trust-checkpoint"):
        loaders.CheckpointLoader.load_checkpoint(address)
    assert not went_off()
    with pytest.raises(KeyError):
        loaders.CheckpointLoader.load_checkpoint(f'{address}unknown')


def test_getattr_leads_nowhere(tmp_path):
    """By way of a function to the builtins of its module, which an item of a dict may replace."""

    class Steps:
        def __reduce__(self):
            found = Reduced(getattr, Reduced(getattr, HistoryBuffer, 'mean'), '__builtins__')
            return dict, (), None, None, iter([('a', found)])

    torch.save(dict(state_dict={}, a=Steps()), tmp_path / 'a.pth')
    content = None
    try:
        content = read_checkpoint(tmp_path / 'a.pth')
    except ValueError:
        pass
    assert content is None or content['a']['a'] not in (vars(builtins), builtins)
    torch.save(Reduced(getattr, HistoryBuffer, '__init__'), tmp_path / 'b.pth')
    assert read_checkpoint(tmp_path / 'b.pth') is not HistoryBuffer.__init__
    torch.save(Reduced(Reduced(getattr, np.ndarray, 'tofile')), tmp_path / 'c.pth')
    with pytest.raises(ValueError):
        read_checkpoint(tmp_path / 'c.pth')
    assert history_module.HistoryBuffer is HistoryBuffer


def histories():
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    buffer.update(3)
    return buffer


@pytest.mark.parametrize(
    'value',
    [
        ConfigDict(a=dict(b=[1, dict(c=2)])), np.float32(1), np.int64(2), np.bool_(True),
        np.arange(3.0), np.array(['a', 'b']), np.array([1, 'a'], dtype=object), np.str_('a'),
        np.zeros(2, dtype=[('a', int)]), np.dtype('f4'), np.datetime64('2020-01-01'), {1, 2},
        frozenset({1}), slice(1, 2), 1j, b'a', bytearray(b'a'), range(3), 10**40,
        torch.Size([1]), torch.device('cpu'), torch.float32, np.arange(3, dtype='>i4'),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_mmengine_may_save_is_read(tmp_path, value):
    torch.save(dict(state_dict={}, meta=dict(value=value)), tmp_path / 'a.pth')
    loaded = loaders.CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['meta']['value']
    assert type(loaded) is type(value)
    assert np.array_equal(loaded, value) if isinstance(value, np.ndarray) else loaded == value


def test_histories_go_on(tmp_path):
    torch.save(histories(), tmp_path / 'a.pth')
    loaded = loaders.CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    loaded.update(4)
    assert loaded.data[0].tolist() == [1, 2, 3, 4]
    assert (loaded.mean(), loaded.max(), loaded.current()) == (2.5, 4, 4)


def test_types_that_were_allowed_in_torch_are_read(tmp_path):
    torch.save(dict(state_dict={}, own=Own()), tmp_path / 'a.pth')
    with pytest.raises(CodeInCheckpointError, match='Own'):
        read_checkpoint(tmp_path / 'a.pth')
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([Own])
    try:
        assert isinstance(read_checkpoint(tmp_path / 'a.pth')['own'], Own)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_map_location_reaches_torch(tmp_path):
    torch.save(dict(a=torch.ones(1)), tmp_path / 'a.pth')
    loaded = loaders.CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'), map_location='meta')
    assert loaded['a'].device.type == 'meta'


def test_a_teacher(bomb):
    path, went_off = bomb
    with pytest.raises(CodeInCheckpointError):
        FrozenNetwork._load_strictly(Net(), path)
    assert not went_off()
