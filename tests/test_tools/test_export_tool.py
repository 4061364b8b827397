"""tools/model_converters/export.py on a model that tools/train.py trained."""

import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model

TOOL = 'model_converters/export.py'
GML = """
_base_ = 'tiny.py'
head = dict(type='lt_mm.GMLFCNHead', gml=dict(size=30, min_size=2, widths=(4,)))
model = dict(decode_head=head)
custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
test_evaluator = dict(type='lt_mm.LongTailIoUMetric')
test_pipeline = _base_.pipeline
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory, run_tool, write_config):
    """A folder with the config and the work dir of a GML model with a cosine classifier."""
    home = tmp_path_factory.mktemp('home')
    folders = dict(images=256, labels=3)
    write_config(home / 'configs' / 'tiny.py', 'tiny_segmentation.py', folders, home / 'data')
    (home / 'configs' / 'gml.py').write_text(GML)
    run_tool('train.py', 'configs/gml.py', '--work-dir', 'run', cwd=home)
    return home


def test_export_of_a_training(home, run_tool, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'path', sys.path[:])
    run_tool(TOOL, 'run/gml.py', 'run/iter_2.pth', 'exported', cwd=home)
    out = capsys.readouterr().out
    folder = home / 'exported'
    for name in ('config.py', 'weights.pth', 'normalized_fcnhead.py'):
        size = (folder / name).stat().st_size
        assert f'exported/{name}: {size:,} bytes' in out
    assert f'PYTHONPATH={folder}' in out and 'inference only' not in out
    assert (folder / 'weights.pth').stat().st_size < (home / 'run' / 'iter_2.pth').stat().st_size

    config = Config.fromfile(folder / 'config.py')
    assert config.test_evaluator.type == 'IoUMetric'
    assert config.test_dataloader.dataset.data_root == str(home / 'data')
    init_default_scope('mmseg')
    exact = init_model(str(folder / 'config.py'), str(folder / 'weights.pth'), device='cpu')
    assert exact.dataset_meta['classes'] == ('sky', 'road', 'sign')
    trained = Config.fromfile(home / 'run' / 'gml.py')
    trained.test_pipeline = config.test_pipeline
    before = init_model(trained, str(home / 'run' / 'iter_2.pth'), device='cpu')
    image = np.random.default_rng(1).integers(256, size=(48, 64, 3), dtype=np.uint8)
    torch.testing.assert_close(
        inference_model(exact, image).seg_logits.data,
        inference_model(before, image).seg_logits.data,
        rtol=0,
        atol=1e-5,
    )


def test_exported_test_set_is_evaluated_as_before(home, run_tool, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'path', sys.path[:])
    run_tool(TOOL, 'run/gml.py', 'run/iter_2.pth', tmp_path / 'exported', cwd=home)
    pair = (tmp_path / 'exported' / name for name in ('config.py', 'weights.pth'))
    run_tool('test.py', *pair, '--work-dir', tmp_path / 'plain', cwd=home)
    run_tool('test.py', 'run/gml.py', 'run/iter_2.pth', '--work-dir', tmp_path / 'own', cwd=home)
    results = []
    for name in ('plain', 'own'):
        (file,) = (tmp_path / name).glob('*/*.json')
        metrics = json.loads(file.read_text())
        results.append({name: metrics[name] for name in ('mIoU', 'mAcc', 'aAcc')})
    assert results[0] == results[1]
    assert results[0]['mIoU'] > 0


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (['absent.py', 'run/iter_2.pth'], 'Config absent.py'),
        (['run/gml.py', 'absent.pth'], 'Checkpoint absent.pth does not exist'),
        (['run/gml.py', 'run/gml.py'], "checkpoint 'run/gml.py'"),
        (['configs/tiny.py', 'run/iter_2.pth'], 'nothing of lt_mm (decode_head: FCNHead)'),
        (
            ['run/gml.py', 'run/iter_2.pth', '--cfg-options', 'model.decode_head.channels=5'],
            'does not fit the config',
        ),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(home, run_tool, capsys, tmp_path, argv, told):
    argv = [*argv[:2], tmp_path / 'out', *argv[2:]]
    with pytest.raises(SystemExit) as caught:
        run_tool(TOOL, *argv, cwd=home)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert not (tmp_path / 'out').exists()
