"""Weights are read from any file, and nothing a file brings is run."""

import os
import pathlib
import threading
from contextlib import nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import save_checkpoint
from torch import nn

from lt_mm import checkpoints as safe_checkpoint
from lt_mm.checkpoints import TRAINING_ONLY, load_weights


class Reduced:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def save(content, path, **kwargs):
    torch.save(content, path, **kwargs)
    return str(path)


def assert_weights_of_model(weights):
    expected = model().state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


def malicious(trace, place):
    evil = Reduced(pathlib.Path.touch, pathlib.Path(trace))
    if place == 'weights':
        return dict(state_dict={**model().state_dict(), 'evil': evil})
    return dict(state_dict=model().state_dict(), meta=dict(time=evil))


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('place', ['weights', 'meta'])
def test_code_in_a_file_is_named_and_not_run(tmp_path, place, zipped):
    trace = tmp_path / 'trace'
    path = save(
        malicious(trace, place), tmp_path / 'evil.pth', _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(ValueError, match=r"evil.pth' needs 'pathlib\.\w+' imported.*alone"):
        load_weights(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), 'the file would do no harm, so the test shows nothing'


@pytest.mark.parametrize('function', [os.system, eval, exec, __import__])
def test_ways_out_of_python_are_not_taken(tmp_path, function):
    path = save(dict(state_dict={}, meta=Reduced(function, 'os')), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=f'needs .*{function.__name__}. imported'):
        load_weights(path)


def test_functions_a_training_state_refers_to_are_not_called(tmp_path):
    """getattr, which histories need, is no way into what an object leads to."""
    call = Reduced(getattr, HistoryBuffer, 'no_such_name')
    path = save(dict(state_dict=model().state_dict(), meta=call), tmp_path / 'a.pth')
    with pytest.raises(AttributeError):
        torch.load(path, weights_only=False)
    assert_weights_of_model(load_weights(path))


def test_checkpoint_of_a_training(tmp_path):
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    hub = MessageHub.get_instance('checkpoint of a training')
    hub.update_scalar('train/loss', 1.5)
    hub.update_info('iter', np.int64(3))
    content = dict(
        meta=dict(
            cfg='a = 1',
            seed=np.int64(1),
            dataset_meta=dict(classes=('a', 'b'), palette=np.zeros((2, 3), dtype=np.uint8)),
            class_counts=[1, 2],
        ),
        state_dict=model().state_dict(),
        message_hub=hub.state_dict(),
        optimizer=optimizer.state_dict(),
        param_schedulers=[dict(last_step=3, _global_step=np.float64(4))],
    )
    save_checkpoint(content, str(tmp_path / 'iter_3.pth'))
    assert_weights_of_model(load_weights(tmp_path / 'iter_3.pth'))


def test_published_checkpoint_of_a_parallel_model(tmp_path):
    parallel = nn.Module()
    parallel.module = model()
    meta = dict(mmseg_version='0.5', CLASSES=('a',), PALETTE=[[1, 2, 3]], env_info='', seed=None)
    path = save(dict(meta=meta, state_dict=parallel.state_dict()), tmp_path / 'a.pth')
    weights = load_weights(path)
    assert_weights_of_model(weights)
    assert weights._metadata['1'] == model().state_dict()._metadata['1']


def test_bare_weights(tmp_path):
    assert_weights_of_model(load_weights(save(model().state_dict(), tmp_path / 'bare.pth')))


def damage(whole):
    return {
        'empty': b'',
        'one byte': whole[:1],
        'a tenth': whole[: len(whole) // 10],
        'half': whole[: len(whole) // 2],
        'all but the end': whole[:-30],
        'text': b'<html>404: not found</html>',
        'zeros': bytes(len(whole)),
        'tensors overwritten': whole[:60] + b'\xff' * (len(whole) - 60),
    }


@pytest.mark.parametrize('kind', damage(b''))
@pytest.mark.parametrize('zipped', [True, False])
def test_damaged_file_is_named(tmp_path, zipped, kind):
    content = dict(state_dict=model().state_dict())
    path = save(content, tmp_path / 'bad.pth', _use_new_zipfile_serialization=zipped)
    pathlib.Path(path).write_bytes(damage(pathlib.Path(path).read_bytes())[kind])
    with pytest.raises(ValueError, match=r"bad.pth' cannot be read as a checkpoint.*delete it and"):
        load_weights(path)


@pytest.mark.parametrize(
    'content', [[1, 2], torch.zeros(3), dict(state_dict=None), dict(a=1), dict(state_dict={1: 2})]
)
def test_file_without_weights_is_named(tmp_path, content):
    path = save(content, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match="other.pth' holds no weights; give a file with the state"):
        load_weights(path)


def test_missing_file_and_unknown_address():
    with pytest.raises(
        FileNotFoundError, match="'nowhere.pth' does not exist; pass the path or URL"
    ):
        load_weights('nowhere.pth')
    with pytest.raises(ValueError, match="'torchvision://a' is an address of a kind"):
        load_weights('torchvision://a')


def test_home_folder_and_file_backends_of_mmengine(tmp_path, monkeypatch):
    save(dict(state_dict=model().state_dict()), tmp_path / 'a.pth')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert_weights_of_model(load_weights('~/a.pth'))

    class Bucket:
        def __init__(self, address):
            assert address == 's3://bucket/a.pth'

        def get_local_path(self, address):
            return nullcontext(tmp_path / 'a.pth')

    monkeypatch.setattr(safe_checkpoint, 'get_file_backend', Bucket)
    assert_weights_of_model(load_weights('s3://bucket/a.pth'))


def test_safe_globals_of_others_are_left_as_they_were(tmp_path):
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([Reduced])
    try:
        load_weights(save(model().state_dict(), tmp_path / 'a.pth'))
        with pytest.raises(ValueError):
            load_weights(save(Reduced(os.getcwd), tmp_path / 'b.pth'))
        assert set(torch.serialization.get_safe_globals()) == {*before, Reduced}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server over tmp_path / 'web' that counts, and an empty cache of torch."""
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    web = tmp_path / 'web'
    web.mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '*')
    httpd = ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(web)))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield web, f'http://127.0.0.1:{httpd.server_port}', requests
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_url_is_downloaded_once_and_safely(server, tmp_path):
    web, address, requests = server
    save(dict(state_dict=model().state_dict()), web / 'a.pth')
    for _ in range(2):
        assert_weights_of_model(load_weights(f'{address}/a.pth'))
    assert requests == ['/a.pth']
    trace = tmp_path / 'trace'
    save(malicious(trace, 'meta'), web / 'evil.pth')
    with pytest.raises(ValueError, match=rf"'{address}/evil.pth' needs 'pathlib"):
        load_weights(f'{address}/evil.pth')
    assert not trace.exists()


def test_url_that_cannot_be_read(server):
    web, address, _ = server
    with pytest.raises(ConnectionError, match=rf"'{address}/no.pth' could not be down.*404"):
        load_weights(f'{address}/no.pth')
    path = save(model().state_dict(), web / 'cut.pth')
    pathlib.Path(path).write_bytes(pathlib.Path(path).read_bytes()[:500])
    with pytest.raises(ValueError, match=rf"'{address}/cut.pth' cannot.*its copy in .*checkpoints"):
        load_weights(f'{address}/cut.pth')


@pytest.mark.parametrize('local_rank', ['0', '1'])
def test_one_process_a_machine_downloads(server, monkeypatch, local_rank):
    web, address, requests = server
    save(model().state_dict(), web / 'a.pth')
    before_barrier = []
    monkeypatch.setenv('LOCAL_RANK', local_rank)
    monkeypatch.setattr(safe_checkpoint, 'barrier', lambda: before_barrier.append(list(requests)))
    load_weights(f'{address}/a.pth')
    assert before_barrier == [['/a.pth'] if local_rank == '0' else []]
    with pytest.raises(ConnectionError):
        load_weights(f'{address}/no.pth')
    assert len(before_barrier) == 2, 'a failure would leave the other processes waiting'


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('auxiliary_head.conv_seg.weight', True),
        ('auxiliary_head.0.loss_decode.class_counts.counts', True),
        ('decode_head.gml.queue.features', True),
        ('decode_head.contrast.queue.features', True),
        ('decode_head.1.loss_decode.0.class_counts.counts', True),
        ('decode_head.experts.2.contrast.query_mlp.0.weight', True),
        ('decode_head.interplay.class_counts.counts', True),
        ('head.loss_module.class_counts.counts', True),
        ('head.experts.0.loss_module.class_counts.counts', True),
        ('head.distillation.mlp.0.weight', True),
        ('key_encoder.module.0.conv1.weight', True),
        ('backbone.contrast.weight', False),
        ('decode_head.conv_seg.weight', False),
        ('decode_head.gmlp.weight', False),
        ('decode_head.experts.0.post_compensation.class_counts.counts', False),
        ('head.fc.weight', False),
        ('head.alignment.scale', False),
        ('neck.key_encoder.weight', False),
    ],
)
def test_what_only_training_needs(name, expected):
    assert bool(TRAINING_ONLY.match(name)) is expected
