"""Routing in a LongTailClassifier: predictions of the head, experts run on those that ask."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

MODEL = dict(
    type='lt_mm.LongTailClassifier',
    freeze_encoder=True,
    data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3),
    backbone=dict(
        type='lt_mm.MultiExpertResNet',
        backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=(4, 8, 8)),
    ),
    neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
    head=dict(type='lt_mm.RoutedClsHead', num_classes=6, in_channels=8, experts=[dict()] * 3),
)


def build(**backbone):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg = copy.deepcopy(MODEL)
    cfg['backbone'].update(backbone)
    model = MODELS.build(cfg)
    for parameter in model.head.parameters():
        nn.init.normal_(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
    return model


def divided(model, images):
    """Let about half of the images ask a second expert, and half of these a third."""
    head = model.head.eval()
    feats = model.eval().extract_feat(images)
    with torch.no_grad():
        features, logits = head.pre_logits(feats), head.expert_logits(feats)
        head.routers.output[0].bias -= head.routers(0, features[:, 0], logits[0]).median()
    return model


@pytest.mark.parametrize('shared_stages', [1, -1])
def test_predictions_are_those_of_the_head_and_cost_less(shared_stages):
    images = torch.randn(16, 3, 16, 16)
    model = divided(build(shared_stages=shared_stages), images)
    seen = [0, 0, 0]

    def count(expert):
        def hook(module, inputs):
            seen[expert] += len(inputs[0])

        return hook

    for expert, network in enumerate(model.backbone.experts):
        network.register_forward_pre_hook(count(expert))
    predictions = model.predict(images, [DataSample() for _ in range(16)])
    used = torch.cat([sample.num_experts for sample in predictions])
    assert seen == [int((used >= number).sum()) for number in (1, 2, 3)]
    assert seen[0] == 16 > seen[1] > 0
    expected = model.head.predict(model.extract_feat(images))
    for mine, whole in zip(predictions, expected, strict=True):
        torch.testing.assert_close(mine.pred_score, whole.pred_score)
        assert mine.num_experts == whole.num_experts
    assert len(model(images, mode='predict')) == 16


def test_training_changes_the_routers_alone():
    model = build().train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(
        [value for value in model.parameters() if value.requires_grad], lr=1.0
    )
    samples = [DataSample().set_gt_label(label) for label in range(6)]
    losses = model(torch.randn(6, 3, 16, 16), samples, mode='loss')
    sum(losses.values()).backward()
    optimizer.step()
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed and all(name.startswith('head.routers.') for name in changed)


def test_an_encoder_that_would_be_trained_in_vain():
    init_default_scope('mmpretrain')
    with pytest.raises(
        ValueError, match='RoutedClsHead trains its routers alone, but LongTailClas'
    ):
        MODELS.build(dict(copy.deepcopy(MODEL), freeze_encoder=False))


def test_in_another_network_all_experts_run_and_predictions_are_the_same():
    images = torch.randn(16, 3, 16, 16)
    model = divided(build(), images)
    cfg = dict(copy.deepcopy(MODEL), type='ImageClassifier')
    del cfg['freeze_encoder']
    plain = MODELS.build(cfg).eval()
    plain.load_state_dict(model.state_dict())
    for mine, other in zip(model.predict(images), plain.predict(images), strict=True):
        torch.testing.assert_close(mine.pred_score, other.pred_score)
        assert mine.num_experts == other.num_experts


def test_two_stages_in_a_runner(tmp_path):
    pipeline = [dict(type='Resize', scale=16), dict(type='PackInputs')]
    dataset = dict(type='lt_mm.DigitsLT', split='tuning', indices=40, pipeline=pipeline)
    loader = dict(
        batch_size=20,
        num_workers=0,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    head = dict(MODEL['head'], type='lt_mm.MultiExpertClsHead', num_classes=10)
    first = dict(MODEL, type='ImageClassifier', head=head)
    del first['freeze_encoder']
    second = dict(MODEL, head=dict(MODEL['head'], num_classes=10))

    def runner(name, model, metrics, **changes):
        return Runner.from_cfg(
            Config(
                dict(
                    default_scope='mmpretrain',
                    model=copy.deepcopy(model),
                    train_dataloader=copy.deepcopy(loader),
                    train_cfg=dict(by_epoch=True, max_epochs=1),
                    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                    test_dataloader=copy.deepcopy(loader),
                    test_cfg=dict(),
                    test_evaluator=metrics,
                    work_dir=str(tmp_path / name),
                    log_level='WARNING',
                    **changes,
                )
            )
        )

    runner('first', first, [dict(type='Accuracy')]).train()
    checkpoint = str(tmp_path / 'first' / 'epoch_1.pth')
    metrics = [dict(type='Accuracy'), dict(type='lt_mm.ExpertUsage')]
    routed = runner('second', second, metrics, load_from=checkpoint)
    trained = routed.train().state_dict()
    for name, value in torch.load(checkpoint, weights_only=False)['state_dict'].items():
        assert torch.equal(trained[name], value)
    result = routed.test()
    shares = [value for key, value in result.items() if key.startswith('experts/share')]
    assert sum(shares) == pytest.approx(100)
    mean = sum(number * share / 100 for number, share in enumerate(shares, 1))
    assert result['experts/mean'] == pytest.approx(mean)
