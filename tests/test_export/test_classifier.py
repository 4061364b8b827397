"""A classifier of mmpretrain alone, whole or one of several experts: it predicts the same."""

import copy
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from lt_mm.export.exported_model import export_model
from lt_mm.structures import ClassCounts

CIFAR = dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=(4, 6, 8))
RESNET = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4)
POOL = dict(type='GlobalAveragePooling')
COUNTS = ClassCounts([80, 15, 5])
NORMALIZED = 'normalized_cls_head'
LWS = dict(type='lt_mm.LearnableWeightScaling')
KD = dict(type='lt_mm.KDLoss')
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


def with_head(backbone=RESNET, width=32, model='ImageClassifier', neck=POOL, **head):
    head = dict(dict(type='lt_mm.LongTailClsHead', num_classes=3, in_channels=width), **head)
    kind = model if isinstance(model, dict) else dict(type=model)
    return dict(**kind, backbone=backbone, neck=neck, head=head)


def with_experts(backbone=RESNET, factor=1.0, width=32, head='MultiExpertClsHead', **settings):
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='lt_mm.MultiExpertResNet', backbone=backbone, num_experts=2, width_factor=factor
        ),
        neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
        head=dict(
            type=f'lt_mm.{head}',
            num_classes=3,
            in_channels=width,
            experts=[dict(), dict(classifier='cosine')],
            interplay=dict(type='lt_mm.MutualLoss'),
            **settings,
        ),
    )


# The model, and the modules that must come with it.
WHOLE = {
    'loss alone': (
        with_head(type='LinearClsHead', loss=dict(type='lt_mm.LogitAdjustedLoss')), [],
    ),
    'linear': (with_head(alpha=1.0, topk=(1, 2)), []),
    'cosine': (with_head(type='lt_mm.CosineClsHead', post_compensation=dict()), [NORMALIZED]),
    'gml': (
        with_head(
            CIFAR, 8, dict(type='lt_mm.LongTailClassifier', key_momentum=0.9),
            type='lt_mm.GMLClsHead', contrast=dict(size=20, min_size=2, widths=(4,)),
        ),
        ['resnet_cifar_6n2', NORMALIZED],
    ),
    'student': (
        with_head(model=dict(type='lt_mm.LongTailClassifier', teacher=dict()), distillation=KD),
        [],
    ),
    'lws': (
        with_head(
            model=dict(type='lt_mm.LongTailClassifier', freeze_encoder=True), alignment=LWS,
            freeze_classifier=True, post_compensation=dict(target=[1, 2, 3]),
        ),
        [],
    ),
    'tau': (with_head(classifier='tau_normalized'), []),
    'class means': (with_head(classifier='class_means'), [NORMALIZED]),
    'plain class means': (
        with_head(classifier=dict(type='lt_mm.NearestClassMeanLinear', features='un')), [],
    ),
    'stacked': (
        with_head(base='StackedLinearClsHead', mid_channels=[7], classifier='cosine'),
        [NORMALIZED],
    ),
    'reslt': (with_head(CIFAR, 8, neck=None, type='lt_mm.ResLTClsHead'), ['resnet_cifar_6n2']),
    'reslt of vectors': (
        with_head(type='lt_mm.ResLTClsHead', post_compensation=dict()), [],
    ),
}  # fmt: skip
ONE = {
    'plain': (with_experts(), 0, []),
    'compensated': (with_experts(post_compensation=dict()), 0, []),
    'common': (with_experts(alignment=LWS, cal_acc=True), 1, [NORMALIZED]),
    'narrow': (with_experts(RESNET, 0.5, 16), 0, ['scaled_resnets']),
    'cifar': (with_experts(CIFAR, (1, 0.75), 6), 0, ['resnet_cifar_6n2']),
    'cifar B': (
        with_experts({**CIFAR, 'shortcut': 'B'}, 0.5, 4, post_compensation=dict()), 1,
        ['resnet_cifar_6n2', NORMALIZED],
    ),
    'routed': (with_experts(head='RoutedClsHead', routers=dict(top_k=2)), 1, [NORMALIZED]),
}  # fmt: skip


def config_of(model):
    dataset = dict(
        type='lt_mm.DigitsLT', pipeline=[dict(type='Resize', scale=16), dict(type='PackInputs')]
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


def train(config, seed=0):
    """Weights and statistics, as a training would leave them."""
    init_default_scope('mmpretrain')
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config.model))
    for module in model.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(COUNTS)
        if hasattr(module, 'set_class_means'):
            module.set_class_means(torch.randn(3, 32), torch.tensor([8, 2, 0]), torch.randn(32))
        if isinstance(getattr(module, 'scale', None), torch.nn.Parameter):
            torch.nn.init.uniform_(module.scale, 0.5, 2)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    model.train()
    for _ in range(2):
        model.extract_feat(torch.randn(4, 3, 16, 16))
    for branch in getattr(model.head, 'branches', ()):
        branch(torch.randn(4, model.head.in_channels, 5, 5))
    return model.eval(), dict(state_dict=model.state_dict(), meta=dict(dataset_meta={}, x=1))


@torch.no_grad()
def scores_of(model, images, expert=None):
    if expert is None:
        return model(images).softmax(1)
    return model.head.expert_logits(model.extract_feat(images))[expert].softmax(1)


def check(model, expert, modules):
    cfg = config_of(model)
    before = copy.deepcopy(cfg.to_dict())
    trained, checkpoint = train(cfg)
    names = list(checkpoint['state_dict'])
    exported = export_model(cfg, checkpoint, expert)
    assert cfg.to_dict() == before and list(checkpoint['state_dict']) == names
    assert sorted(exported.modules) == sorted(modules)
    assert 'lt_mm' not in exported.config.pretty_text
    assert exported.config.get('custom_imports', {}).get('imports', []) == exported.modules
    assert set(exported.checkpoint) == {'state_dict', 'meta'}
    assert exported.checkpoint['meta'] == dict(dataset_meta={})
    assert exported.config.model.type == 'ImageClassifier'
    plain = MODELS.build(exported.config.model)
    plain.load_state_dict(exported.checkpoint['state_dict'])
    images = torch.randn(3, 3, 16, 16)
    expected = scores_of(trained, images, expert)
    assert expected.std() > 0.01
    torch.testing.assert_close(scores_of(plain.eval(), images), expected, rtol=1e-4, atol=1e-5)
    return plain


@pytest.mark.parametrize('name', WHOLE)
def test_a_whole_classifier(name):
    model, modules = WHOLE[name]
    plain = check(model, None, modules)
    if name == 'linear':
        assert plain.head.topk == (1, 2)


@pytest.mark.parametrize('name', ONE)
def test_one_expert(name):
    check(*ONE[name])


def test_predictions_without_lt_mm(tmp_path):
    expected = {}
    cases = [(WHOLE['class means'][0], None), (ONE['narrow'][0], 1), (ONE['cifar B'][0], 0)]
    for number, (case, expert) in enumerate(cases):
        cfg = config_of(case)
        model, checkpoint = train(cfg, seed=number)
        folder = tmp_path / str(number)
        export_model(cfg, checkpoint, expert).save(folder)
        images = torch.randn(3, 3, 16, 16)
        torch.save(images, folder / 'images.pt')
        expected[folder] = scores_of(model, images, expert)
    command = [sys.executable, '-c', SCRIPT, *map(str, expected)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for folder, scores in expected.items():
        found = torch.load(folder / 'logits.pt').softmax(1)
        torch.testing.assert_close(found, scores, rtol=1e-4, atol=1e-5, msg=str(folder))


def test_a_test_set_of_mmpretrain_stays():
    cfg = config_of(ONE['plain'][0])
    cfg.test_dataloader.dataset.type = 'CIFAR10'
    _, checkpoint = train(cfg)
    exported = export_model(cfg, checkpoint, 0)
    assert exported.config.test_dataloader.batch_size == 2
    assert exported.config.test_evaluator.type == 'Accuracy'


@pytest.mark.parametrize(
    ('change', 'expert', 'message'),
    [
        (dict(), None, 'expert is None, but the model has 2: choose one from 0 to 1'),
        (dict(), 2, 'expert is 2.*has 2.*0 to 1'),
        (dict(), -1, 'expert is -1'),
        (dict(backbone=dict(_delete_=True, **RESNET)), 0, "backbone is a 'ResNet'"),
        (dict(neck=dict(type='GlobalAveragePooling')), 0, "neck is a 'GlobalAveragePooling'"),
        (
            dict(head=dict(_delete_=True, type='LinearClsHead', num_classes=3, in_channels=32)), 0,
            "head is a 'LinearClsHead' without experts",
        ),
        (
            dict(neck=POOL, backbone=dict(_delete_=True, **RESNET),
                 head=dict(_delete_=True, type='LinearClsHead', num_classes=3, in_channels=32)),
            None, r'nothing of lt_mm \(head: LinearClsHead\)',
        ),
        (dict(head=dict(alignment=dict(type='lt_mm.DisAlign'))), 0, 'does not fit'),
        (dict(head=dict(num_classes=4)), 0, 'does not fit the config'),
        (dict(backbone=dict(width_factor=0.5), head=dict(in_channels=16)), 0, 'does not fit'),
        (dict(head=None), None, 'is a ImageClassifier without decode_head and head'),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_named(change, expert, message):
    cfg = config_of(ONE['plain'][0])
    _, checkpoint = train(cfg)
    cfg.merge_from_dict(dict(model=change))
    with pytest.raises(ValueError, match=message):
        export_model(cfg, checkpoint, expert)


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (with_head(alignment=dict(type='lt_mm.DisAlign')), 'confidence of DisAlign differs'),
        (with_head(type='lt_mm.ResLTClsHead', classifier='cosine'), 'each branch of ResLTClsHead'),
        (with_head(type='lt_mm.ResLTClsHead', branch='conv'), r"branch='conv'\) have ReLUs"),
        (with_head(type='LinearClsHead'), r'nothing of lt_mm \(head: LinearClsHead\)'),
        (
            with_head(dict(type='lt_mm.MultiExpertResNet', backbone=RESNET), 32),
            'model.backbone needs lt_mm',
        ),
    ],
)
def test_models_without_a_plain_one(model, message):
    cfg = config_of(model)
    init_default_scope('mmpretrain')
    trained = MODELS.build(copy.deepcopy(cfg.model))
    for module in trained.modules():
        if isinstance(getattr(module, 'scale', None), torch.nn.Parameter):
            torch.nn.init.uniform_(module.scale, 2, 3)
    with pytest.raises(ValueError, match=message):
        export_model(cfg, dict(state_dict=trained.state_dict()))


def test_compensation_without_class_counts():
    cfg = config_of(ONE['compensated'][0])
    init_default_scope('mmpretrain')
    state = MODELS.build(copy.deepcopy(cfg.model)).state_dict()
    with pytest.raises(ValueError, match='no class counts of the training'):
        export_model(cfg, dict(state_dict=state), 0)
    with pytest.raises(ValueError, match='no state_dict'):
        export_model(cfg, dict(meta={}), 0)
