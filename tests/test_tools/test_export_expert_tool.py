"""tools/model_converters/export_expert.py on a model that tools/train.py trained."""

import sys

import numpy as np
import pytest
import torch
from mmpretrain import ImageClassificationInferencer, get_model

TOOL = 'model_converters/export_expert.py'
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
        num_experts=2, classifier='cosine', post_compensation=dict(), expert_predictions=True,
    ),
)
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory, run_tool, tools):
    """A folder with the config and the work dir of two experts with cosine classifiers."""
    home = tmp_path_factory.mktemp('home')
    (home / 'experts.py').write_text(EXPERTS.format(root=tools.parent))
    run_tool('train.py', 'experts.py', '--work-dir', 'run', cwd=home)
    return home


def test_export_of_a_training(home, run_tool, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'path', sys.path[:])
    run_tool(TOOL, 'run/experts.py', 'run/epoch_1.pth', 1, 'exported', cwd=home)
    out = capsys.readouterr().out
    folder = home / 'exported'
    names = ('config.py', 'weights.pth', 'scaled_resnets.py', 'normalized_linear_cls_head.py')
    for name in names:
        assert f'exported/{name}: {(folder / name).stat().st_size:,} bytes' in out
    assert f'PYTHONPATH={folder}' in out

    exact = get_model(str(folder / 'config.py'), pretrained=str(folder / 'weights.pth'))
    before = get_model(str(home / 'run' / 'experts.py'), pretrained=str(home / 'run/epoch_1.pth'))
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = before.head.expert_logits(before.extract_feat(images))[1]
        torch.testing.assert_close(exact(images), expected, rtol=1e-5, atol=1e-5)
    image = np.random.default_rng(1).integers(256, size=(16, 16, 3), dtype=np.uint8)
    result = ImageClassificationInferencer(exact)(image)[0]
    assert result['pred_class'] in before._dataset_meta['classes']
    sample = ImageClassificationInferencer(before)(image, return_datasamples=True)[0]
    np.testing.assert_allclose(result['pred_scores'], sample.expert_scores[1], atol=1e-5)


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (['absent.py', 'run/epoch_1.pth', 0], 'Config absent.py'),
        (['experts.py', 'absent.pth', 0], 'Checkpoint absent.pth does not exist'),
        (['experts.py', 'run/epoch_1.pth', 2], 'expert is 2, but the model has 2'),
        (['experts.py', 'experts.py', 0], "checkpoint 'experts.py'"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(home, run_tool, capsys, tmp_path, argv, told):
    with pytest.raises(SystemExit) as caught:
        run_tool(TOOL, *argv, tmp_path / 'out', cwd=home)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert not (tmp_path / 'out').exists()
