import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_mm.structures import ClassCounts

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'class_counts.py'
CONFIG = """
default_scope = 'mmseg'
model = dict(type='ModelThatDoesNotExist')
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        type='BaseSegDataset', data_root='nowhere', metainfo=dict(classes=('sky', 'tree', 'pole')),
        data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=[]))
"""


@pytest.fixture
def folder(tmp_path):
    for part in ('img', 'ann'):
        (tmp_path / part).mkdir()
    for i, row in enumerate(([0, 0, 0, 1], [0, 0, 255, 0])):
        Image.new('RGB', (2, 2)).save(tmp_path / 'img' / f'{i}.jpg')
        labels = np.array(row, dtype=np.uint8).reshape(2, 2)
        Image.fromarray(labels).save(tmp_path / 'ann' / f'{i}.png')
    (tmp_path / 'toy_config.py').write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize('workers', ['0', '1'])
def test_two_files_and_a_chart_without_a_model(folder, capsys, workers):
    runpy.run_path(str(TOOL))['main'](
        [
            str(folder / 'toy_config.py'),
            '--out-dir',
            str(folder / 'out'),
            '--workers',
            workers,
            '--cfg-options',
            f'train_dataloader.dataset.data_root={folder}',
        ]
    )
    names = ('sky', 'tree', 'pole')
    for unit, expected in dict(pixels=[6, 1, 0], images=[2, 1, 0]).items():
        counts = ClassCounts.load(folder / 'out' / f'{unit}.json')
        assert counts == ClassCounts(expected, names, unit)
    assert Image.open(folder / 'out' / 'class_counts.png').size[0] > 500
    output = capsys.readouterr().out
    assert '7 pixels in 3 classes, 1 of them empty, imbalance factor 6.0' in output
    assert '3 image labels in 3 classes' in output


def test_a_variant_is_counted(folder, monkeypatch, capsys):
    variant = (
        f"variants = dict(here=dict(train_dataloader=dict(dataset=dict(data_root='{folder}'))))"
    )
    (folder / 'toy_config.py').write_text(f'{CONFIG}\n{variant}')
    monkeypatch.chdir(folder)
    runpy.run_path(str(TOOL))['main'](['toy_config.py', '--workers', '0', '--variant', 'here'])
    assert '7 pixels in 3 classes' in capsys.readouterr().out
    assert (folder / 'work_dirs/class_counts/toy_config_here/pixels.json').is_file()


def test_results_go_under_the_name_of_the_config(folder, monkeypatch):
    monkeypatch.chdir(folder)
    runpy.run_path(str(TOOL))['main'](
        ['toy_config.py', '--workers', '0', '--cfg-options', 'train_dataloader.dataset.data_root=.']
    )
    made = folder / 'work_dirs' / 'class_counts' / 'toy_config'
    assert {file.name for file in made.iterdir()} == {
        'pixels.json',
        'images.json',
        'class_counts.png',
    }
