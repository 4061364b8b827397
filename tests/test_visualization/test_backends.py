"""Pictures in the backends of a config's visualizer."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend
from PIL import Image

from lt_mm.visualization.backends import add_to_backends

SEEN = []


@VISBACKENDS.register_module(force=True)
class NotingBackend(BaseVisBackend):
    """Notes what it is given."""

    experiment = property(lambda self: None)

    def _init_env(self):
        pass

    def add_config(self, config, **kwargs):
        pass

    def add_scalar(self, *args, **kwargs):
        pass

    def add_scalars(self, *args, **kwargs):
        pass

    def add_image(self, name, image, step=0, **kwargs):
        SEEN.append((name, image, self._save_dir))

    def close(self):
        SEEN.append('closed')


@pytest.fixture
def pictures(tmp_path):
    Image.new('RGBA', (4, 3), (200, 100, 0, 255)).save(tmp_path / 'a.png')
    return dict(file=tmp_path / 'a.png', figure=Figure(figsize=(2, 1), dpi=50))


@pytest.mark.parametrize('where', ['visualizer', 'vis_backends'])
def test_files_and_figures_come_as_pixels(tmp_path, pictures, where):
    SEEN.clear()
    backends = [dict(type='LocalVisBackend'), dict(type='NotingBackend')]
    cfg = dict(vis_backends=backends)
    config = Config(dict(visualizer=cfg) if where == 'visualizer' else cfg)
    add_to_backends(config, pictures, tmp_path / 'out')
    (name, pixels, folder), (other, drawn, _), end = SEEN
    assert (name, other, end) == ('file', 'figure', 'closed')
    assert folder == str(tmp_path / 'out' / 'vis_data')
    np.testing.assert_array_equal(pixels, np.broadcast_to([200, 100, 0], (3, 4, 3)))
    assert drawn.shape == (50, 100, 3) and drawn.dtype == np.uint8
    # The file lies there already.
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'cfg',
    [
        dict(),
        dict(visualizer=None),
        dict(visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])),
        dict(vis_backends=[dict(type='mmengine.LocalVisBackend')]),
    ],
)
def test_nothing_is_done_without_other_backends(tmp_path, pictures, cfg):
    SEEN.clear()
    add_to_backends(Config(cfg), pictures, tmp_path / 'out')
    assert SEEN == [] and not (tmp_path / 'out').exists()


def test_tensorboard_has_the_picture(tmp_path, pictures):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    config = Config(dict(vis_backends=[dict(type='TensorboardVisBackend')]))
    add_to_backends(config, pictures, tmp_path / 'out')
    events = accumulator.EventAccumulator(str(tmp_path / 'out' / 'vis_data'))
    events.Reload()
    assert sorted(events.Tags()['images']) == ['figure', 'file']
    assert events.Images('file')[0].width == 4


@pytest.mark.parametrize(
    ('tool', 'names'),
    [
        ('analysis_tools/class_counts.py', ['class_counts']),
        ('misc/browse_dataset.py', ['samples', 'class_frequencies']),
    ],
)
def test_tools_add_their_pictures(tmp_path, monkeypatch, tool, names):
    SEEN.clear()
    root = Path(__file__).parents[2]
    base = root / 'configs' / 'digits_lt' / 'ce_resnet8_digits-lt.py'
    (tmp_path / 'mine.py').write_text(
        f"_base_ = {str(base)!r}\nvisualizer = dict(vis_backends=[dict(type='NotingBackend')])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [tool, 'mine.py'])
    runpy.run_path(str(root / 'tools' / tool), run_name='__main__')
    assert [one[0] for one in SEEN if one != 'closed'] == names
