"""What every test starts from: one thread, no state of an earlier test, little noise."""

import logging
import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.utils import ManagerMixin
from two_ranks import run_on_two_ranks


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    """Keep torch to one thread: the tests already run in several processes."""
    torch.set_num_threads(1)
    os.environ['OMP_NUM_THREADS'] = '1'


@pytest.fixture(scope='session', autouse=True)
def quiet():
    """Silence the warnings of subprocesses, which pytest's own filters do not reach."""
    os.environ.setdefault('PYTHONWARNINGS', 'ignore')
    for name in ('matplotlib', 'PIL'):
        logging.getLogger(name).setLevel(logging.ERROR)


@pytest.fixture(scope='session', autouse=True)
def quick_mmengine():
    """Spare what takes mmengine longer than the training of a small model.

    For every data set it has the garbage of the whole process collected, which is 0.2 s with all
    that is imported here; and yapf lays out the config of a Runner five times.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0))
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, False))
        yield


def _descendants(cls):
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)


def _forget():
    for cls in _descendants(ManagerMixin):
        for instance in cls._instance_dict.values():
            for handler in getattr(instance, 'handlers', ()):
                if isinstance(handler, logging.FileHandler):
                    handler.close()
        cls._instance_dict.clear()


@pytest.fixture(scope='session')
def forget_mmengine():
    """A function that drops mmengine's globals: default scope, loggers, message hub, visualizer.

    A second Runner in the same process would otherwise write into the folders of the first.
    """
    return _forget


@pytest.fixture(autouse=True)
def fresh_mmengine(forget_mmengine):
    """Leave no global of mmengine to the next test."""
    yield
    forget_mmengine()


@pytest.fixture(scope='session')
def two_ranks(tmp_path_factory):
    """A function: call ``function(rank, *args)`` on two ranks, return both results."""

    def run(function, *args):
        folder = tmp_path_factory.mktemp('two_ranks')
        return run_on_two_ranks(function, *args, folder=folder)

    return run
