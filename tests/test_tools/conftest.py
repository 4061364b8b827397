"""Tools run in this process, and a model that one of them trained."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def tools():
    """The folder of the tools."""
    return TESTS.parent / 'tools'


@pytest.fixture(scope='session')
def run_tool(forget_mmengine, tools):
    """Run a tool in this process, from ``cwd``, as if it were started from the shell."""

    def run(name, *argv, cwd):
        forget_mmengine()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('LOCAL_RANK', '0')
            patch.chdir(cwd)
            patch.setattr(sys, 'argv', [name, *map(str, argv)])
            runpy.run_path(str(tools / name), run_name='__main__')

    return run


@pytest.fixture(scope='session')
def write_config():
    """Write a config of tests/data, with random images in the folders that it reads."""

    def write(path, name, folders, data):
        rng = np.random.default_rng(0)
        for folder, high in folders.items():
            (data / folder).mkdir(parents=True)
            for i in range(3):
                shape = (64, 64, 3) if high == 256 else (64, 64)
                pixels = rng.integers(high, size=shape, dtype=np.uint8)
                Image.fromarray(pixels).save(data / folder / f'{i}.png')
        path.parent.mkdir(exist_ok=True)
        text = (TESTS / 'data' / name).read_text()
        path.write_text(text.replace('DATA', str(data)))

    return write


@pytest.fixture(scope='session')
def trained(tmp_path_factory, run_tool, write_config):
    """A folder with a config, its data and a segmentation model trained for two iterations."""
    home = tmp_path_factory.mktemp('home')
    folders = dict(images=256, labels=3)
    write_config(home / 'configs' / 'tiny.py', 'tiny_segmentation.py', folders, home / 'data')
    (home / 'elsewhere').mkdir()
    run_tool('train.py', '../configs/tiny.py', cwd=home / 'elsewhere')
    return home
