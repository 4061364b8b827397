"""One expert as a classifier of mmpretrain: what is written, and that it predicts the same."""

import copy
import subprocess
import sys

import pytest
import torch
from lt_mm.export.expert import export_expert
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from lt_mm.structures import ClassCounts

CIFAR = dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=(4, 6, 8))
RESNET = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4)
COUNTS = ClassCounts([80, 15, 5])
# Backbone, width factor, width of the features, classifier, compensated, modules that must come.
CASES = {
    'plain': (RESNET, 1.0, 32, 'linear', False, []),
    'plain compensated': (RESNET, 1.0, 32, 'linear', True, []),
    'cosine': (RESNET, 1.0, 32, 'cosine', True, ['normalized_linear_cls_head']),
    'narrow': (RESNET, 0.5, 16, 'linear', False, ['scaled_resnets']),
    'cifar': (CIFAR, (1, 0.75), 6, 'linear', True, ['resnet_cifar_6n2']),
    'cifar B': (
        {**CIFAR, 'shortcut': 'B'}, 0.5, 4, 'cosine', False,
        ['resnet_cifar_6n2', 'normalized_linear_cls_head'],
    ),
}  # fmt: skip
SCRIPT = """
import sys
sys.modules['lt_mm'] = None  # importing it raises
import numpy as np, torch
from mmpretrain import ImageClassificationInferencer, get_model
for folder in sys.argv[1:]:
    model = get_model(f'{folder}/config.py', pretrained=f'{folder}/weights.pth')
    with torch.no_grad():
        torch.save(model(torch.load(f'{folder}/images.pt')), f'{folder}/logits.pt')
    image = np.zeros((20, 24, 3), np.uint8)
    result = ImageClassificationInferencer(model)(image)[0]
    assert len(result['pred_scores']) == 3
"""


@pytest.fixture
def config():
    def make(backbone, factor, channels, classifier, compensated, _=None):
        model = dict(
            type='ImageClassifier',
            backbone=dict(
                type='lt_mm.MultiExpertResNet',
                backbone=backbone,
                num_experts=2,
                width_factor=factor,
            ),
            neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
            head=dict(
                type='lt_mm.MultiExpertClsHead',
                num_classes=3,
                in_channels=channels,
                num_experts=2,
                classifier=classifier,
                interplay=dict(type='lt_mm.MutualLoss'),
                post_compensation=dict() if compensated else None,
            ),
        )
        dataset = dict(
            type='lt_mm.DigitsLT',
            pipeline=[dict(type='Resize', scale=16), dict(type='PackInputs')],
        )
        return Config(
            dict(
                default_scope='mmpretrain',
                model=copy.deepcopy(model),
                data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]),
                test_dataloader=dict(batch_size=2, dataset=dataset),
                test_evaluator=dict(type='lt_mm.LongTailAccuracy'),
                test_cfg=dict(),
            )
        )

    return make


@pytest.fixture
def trained():
    """A function that makes weights and statistics, as a training would leave them."""

    def make(config, seed=0):
        init_default_scope('mmpretrain')
        torch.manual_seed(seed)
        model = MODELS.build(copy.deepcopy(config.model))
        for module in model.modules():
            if hasattr(module, 'set_class_counts'):
                module.set_class_counts(COUNTS)
        model.train()
        for _ in range(2):
            model.extract_feat(torch.randn(4, 3, 16, 16))
        return model.eval(), dict(state_dict=model.state_dict(), meta=dict(dataset_meta={}, x=1))

    return make


@torch.no_grad()
def logits_of(model, images, expert):
    return model.head.expert_logits(model.extract_feat(images))[expert]


@pytest.mark.parametrize('name', CASES)
def test_what_is_written(config, trained, name):
    cfg = config(*CASES[name])
    before = copy.deepcopy(cfg.to_dict())
    model, checkpoint = trained(cfg)
    names = list(checkpoint['state_dict'])
    exported = export_expert(cfg, checkpoint, 1)
    assert cfg.to_dict() == before and list(checkpoint['state_dict']) == names
    assert list(exported.modules) == CASES[name][-1]
    assert 'lt_mm' not in exported.config.pretty_text
    assert not any('lt_mm' in text for text in exported.modules.values())
    assert exported.config.get('custom_imports', {}).get('imports', []) == CASES[name][-1]
    assert set(exported.checkpoint) == {'state_dict', 'meta'}
    assert exported.checkpoint['meta'] == dict(dataset_meta={})
    if not exported.modules:
        plain = MODELS.build(exported.config.model)
        plain.load_state_dict(exported.checkpoint['state_dict'])
        plain.eval()
        images = torch.randn(3, 3, 16, 16)
        torch.testing.assert_close(plain(images), logits_of(model, images, 1))


def test_predictions_without_lt_mm_are_those_of_the_expert(config, trained, tmp_path):
    expected = {}
    for number, (name, expert) in enumerate([('cosine', 0), ('narrow', 1), ('cifar B', 0)]):
        cfg = config(*CASES[name])
        model, checkpoint = trained(cfg, seed=number)
        folder = tmp_path / str(number)
        export_expert(cfg, checkpoint, expert).save(folder)
        images = torch.randn(3, 3, 16, 16)
        torch.save(images, folder / 'images.pt')
        expected[folder] = logits_of(model, images, expert)
    command = [sys.executable, '-c', SCRIPT, *map(str, expected)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for folder, logits in expected.items():
        torch.testing.assert_close(
            torch.load(folder / 'logits.pt'), logits, rtol=1e-5, atol=1e-5, msg=str(folder)
        )


def test_a_test_set_of_mmpretrain_stays(config, trained):
    cfg = config(*CASES['plain'])
    cfg.test_dataloader.dataset.type = 'CIFAR10'
    _, checkpoint = trained(cfg)
    exported = export_expert(cfg, checkpoint, 0)
    assert exported.config.test_dataloader.batch_size == 2
    assert exported.config.test_evaluator.type == 'Accuracy'


@pytest.mark.parametrize(
    ('change', 'expert', 'message'),
    [
        (dict(), 2, 'expert is 2.*has 2.*0 to 1'),
        (dict(), -1, 'expert is -1'),
        (dict(type='BaseClassifier'), 0, "model is a 'BaseClassifier'"),
        (dict(backbone=dict(_delete_=True, **RESNET)), 0, "backbone is a 'ResNet'"),
        (dict(neck=dict(type='GlobalAveragePooling')), 0, "neck is a 'GlobalAveragePooling'"),
        (
            dict(head=dict(_delete_=True, type='LinearClsHead', num_classes=3, in_channels=32)), 0,
            "head is a 'LinearClsHead'",
        ),
        (
            dict(head=dict(classifier=dict(_delete_=True, type='lt_mm.TauNormLinear'))), 0,
            'TauNormLinear',
        ),
        (dict(head=dict(num_classes=4)), 0, 'does not fit the config'),
        (dict(backbone=dict(width_factor=0.5), head=dict(in_channels=16)), 0, 'does not fit'),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_named(config, trained, change, expert, message):
    cfg = config(*CASES['plain'])
    _, checkpoint = trained(cfg)
    cfg.merge_from_dict(dict(model=change))
    with pytest.raises(ValueError, match=message):
        export_expert(cfg, checkpoint, expert)


def test_compensation_without_class_counts(config, trained):
    cfg = config(*CASES['plain compensated'])
    init_default_scope('mmpretrain')
    state = MODELS.build(copy.deepcopy(cfg.model)).state_dict()
    with pytest.raises(ValueError, match='no class counts of the training'):
        export_expert(cfg, dict(state_dict=state), 0)
    with pytest.raises(ValueError, match='no state_dict'):
        export_expert(cfg, dict(meta={}), 0)
