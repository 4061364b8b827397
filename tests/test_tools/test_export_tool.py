"""tools/model_converters/export.py on a model that tools/train.py trained."""

import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain import ImageClassificationInferencer, get_model
from mmseg.apis import inference_model, init_model

TOOL = 'model_converters/export.py'
GML = """
_base_ = 'tiny.py'
head = dict(type='lt_mm.GMLFCNHead', contrast=dict(size=30, min_size=2, widths=(4,)))
model = dict(decode_head=head)
custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
test_evaluator = dict(type='lt_mm.LongTailIoUMetric')
test_pipeline = _base_.pipeline
"""


EXPERTS = """
_base_ = '{root}/configs/digits_lt/ce_resnet8_digits-lt.py'
model = dict(
    backbone=dict(
        _delete_=True, type='lt_mm.MultiExpertResNet', num_experts=2, width_factor=0.75,
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
    ),
    neck=dict(_delete_=True, type='lt_mm.ExpertGlobalAveragePooling'),
    head=dict(
        _delete_=True, type='lt_mm.MultiExpertClsHead', num_classes=10, in_channels=24,
        experts=[dict(), dict()], classifier='cosine', post_compensation=dict(),
        expert_predictions=True,
    ),
)
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
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
    for name in ('config.py', 'weights.pth', 'normalized_decode_head.py'):
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


def test_export_of_one_expert(run_tool, tools, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'path', sys.path[:])
    (tmp_path / 'experts.py').write_text(EXPERTS.format(root=tools.parent))
    run_tool('train.py', 'experts.py', '--work-dir', 'run', cwd=tmp_path)
    trained = tmp_path / 'run' / 'experts.py', tmp_path / 'run' / 'epoch_1.pth'
    run_tool(TOOL, *trained, 'exported', '--expert', 1, cwd=tmp_path)
    out = capsys.readouterr().out
    folder = tmp_path / 'exported'
    for name in ('config.py', 'weights.pth', 'scaled_resnets.py', 'normalized_cls_head.py'):
        assert f'exported/{name}: {(folder / name).stat().st_size:,} bytes' in out
    assert f'PYTHONPATH={folder}' in out

    exact = get_model(str(folder / 'config.py'), pretrained=str(folder / 'weights.pth'))
    before = get_model(str(trained[0]), pretrained=str(trained[1]))
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = before.head.expert_logits(before.extract_feat(images))[1]
        torch.testing.assert_close(exact(images), expected, rtol=1e-5, atol=1e-5)
    image = np.random.default_rng(1).integers(256, size=(16, 16, 3), dtype=np.uint8)
    result = ImageClassificationInferencer(exact)(image)[0]
    sample = ImageClassificationInferencer(before)(image, return_datasamples=True)[0]
    np.testing.assert_allclose(result['pred_scores'], sample.expert_scores[1], atol=1e-5)


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (['absent.py', 'run/iter_2.pth'], 'Config absent.py'),
        (['run/gml.py', 'absent.pth'], 'Checkpoint absent.pth does not exist'),
        (['run/gml.py', 'run/gml.py'], "checkpoint 'run/gml.py'"),
        (['run/gml.py', 'run/iter_2.pth', '--expert', 1], 'expert is 1, but the decode_head'),
        (['run/gml.py', 'run/iter_2.pth', '--variant', 'none'], "no variant 'none'"),
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
