"""What every test starts from: one thread, no state of an earlier test, little noise."""

import gc
import logging
import os

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
def imports_are_no_garbage():
    """Take what was imported from the garbage collector, which would look at it each time.

    mmengine calls the collector for every data set; a look at all that was imported is 0.2 s.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def configs_without_layout():
    """Leave the layout of configs as it is: a Runner has yapf lay out its config five times.

    That takes longer than the training of a small model.
    """
    with pytest.MonkeyPatch.context() as patch:
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
