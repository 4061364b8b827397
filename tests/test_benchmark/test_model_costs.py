"""Parameters and FLOPs against formulas, for both tasks."""

import copy

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from lt_mm.benchmark.model_costs import ModelCosts, config_costs, input_size, model_costs

SIDE = 16
WIDTHS = (4, 6, 8)
PLAIN = dict(
    type='ImageClassifier',
    backbone=dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=WIDTHS),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=8),
)


def experts(number, factor=1.0, shared=1, **head):
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='lt_mm.MultiExpertResNet',
            backbone=PLAIN['backbone'],
            num_experts=number,
            shared_stages=shared,
            width_factor=factor,
        ),
        neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
        head=dict(
            type='lt_mm.MultiExpertClsHead', num_classes=5, in_channels=round(8 * factor),
            experts=[dict()] * number, **head,
        ),
    )  # fmt: skip


def costs_of(model, size=(SIDE, SIDE), scope='mmpretrain'):
    return config_costs(Config(dict(default_scope=scope, model=copy.deepcopy(model))), size)


def convolution(before, after, side):
    """A 3x3 convolution and its norm: multiply-adds, and two for each value."""
    return (9 * before * after + 2 * after) * side * side


def stage_flops(before, after, side):
    return convolution(before, after, side) + convolution(after, after, side)


def parts_of(widths):
    """FLOPs of stem and stages of the 8-layer network, and of pooling and classifier."""
    sides = (SIDE, SIDE // 2, SIDE // 4)
    stem = convolution(3, widths[0], SIDE)
    before = (widths[0], *widths)
    stages = [stage_flops(before[i], widths[i], sides[i]) for i in range(3)]
    last = widths[2] * sides[2] ** 2 + 5 * widths[2]
    return [stem, *stages, last]


def test_a_plain_classifier():
    costs = costs_of(PLAIN)
    assert costs.flops == sum(parts_of(WIDTHS))
    blocks = sum(9 * a * b + 9 * b * b + 4 * b for a, b in ((4, 4), (4, 6), (6, 8)))
    assert costs.parameters == costs.inference_parameters == 9 * 3 * 4 + 8 + blocks + 8 * 5 + 5
    assert costs.size == (SIDE, SIDE)


@pytest.mark.parametrize('shared', [-1, 0, 1, 2])
@pytest.mark.parametrize(('factor', 'widths'), [(1.0, WIDTHS), (2.0, (8, 12, 16))])
def test_experts_cost_their_own_stages_each(shared, factor, widths):
    own = parts_of(tuple(widths) if shared < 1 else (*WIDTHS[:shared], *widths[shared:]))
    expected = sum(own[: shared + 1]) + 3 * sum(own[shared + 1 :])
    assert costs_of(experts(3, factor, shared)).flops == expected


def test_interplay_and_compensation_cost_nothing_at_inference():
    plain = costs_of(experts(2))
    more = experts(2, post_compensation=dict(), interplay=dict(type='lt_mm.MutualLoss'))
    assert costs_of(more) == plain


def test_what_only_training_uses_is_no_inference_parameter():
    contrast = dict(type='lt_mm.GMLLoss', size=50, min_size=2, widths=(6,))
    head = dict(type='lt_mm.LongTailClsHead', num_classes=5, in_channels=8, contrast=contrast)
    # A teacher that is to come is built for no cost, and counts for none.
    model = dict(PLAIN, type='lt_mm.LongTailClassifier', head=head, teacher=dict())
    costs = costs_of(model)
    plain = costs_of(PLAIN)
    assert costs.inference_parameters == plain.parameters < costs.parameters
    assert costs.flops == plain.flops


@pytest.mark.parametrize('freeze', [True, False])
def test_frozen_and_nearest_mean_parameters(freeze):
    head = dict(
        type='lt_mm.LongTailClsHead', num_classes=5, in_channels=8, classifier='class_means'
    )  # fmt: skip
    model = dict(PLAIN, type='lt_mm.LongTailClassifier', head=head, freeze_encoder=freeze)
    costs = costs_of(model)
    # The classifier's weights give way to the class means, which are no parameters.
    assert costs.parameters - costs.inference_parameters == 8 * 5 + 5


def segmentor(**changes):
    head = dict(
        type='FCNHead', in_channels=32, channels=6, num_convs=1, concat_input=False, num_classes=3,
        norm_cfg=dict(type='SyncBN'),
    )  # fmt: skip
    return dict(
        type='EncoderDecoder',
        pretrained='no://such.pth',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(
            type='ResNet', depth=18, stem_channels=4, base_channels=4,
            norm_cfg=dict(type='SyncBN'),
        ),
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
        **changes,
    )  # fmt: skip


def test_a_segmentor_and_its_auxiliary_head():
    plain = costs_of(segmentor(), (32, 64), 'mmseg')
    assert plain.inference_parameters == plain.parameters
    assert plain.size == (32, 64)
    auxiliary = {**segmentor()['decode_head'], 'in_channels': 16, 'in_index': 2}
    more = costs_of(segmentor(auxiliary_head=auxiliary), (32, 64), 'mmseg')
    assert more.parameters == plain.parameters + 9 * 16 * 6 + 2 * 6 + 6 * 3 + 3
    assert (more.inference_parameters, more.flops) == (plain.parameters, plain.flops)
    # On four times the pixels.
    assert costs_of(segmentor(), (64, 128), 'mmseg').flops == 4 * plain.flops


def test_the_config_is_left_alone_and_the_size_comes_from_it():
    pipeline = [dict(type='Resize', scale=64), dict(type='RandomCrop', crop_size=(SIDE, 24))]
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=copy.deepcopy(PLAIN),
            train_dataloader=dict(dataset=dict(dataset=dict(type='X', pipeline=pipeline))),
        )
    )
    before = copy.deepcopy(cfg.to_dict())
    assert config_costs(cfg).size == (SIDE, 24)
    assert config_costs(cfg, (8, 8)).size == (8, 8)
    assert cfg.to_dict() == before


@pytest.mark.parametrize(
    ('pipeline', 'size'),
    [
        ([dict(type='RandomResizedCrop', scale=224)], (224, 224)),
        ([dict(type='Resize', scale=(20, 10))], (10, 20)),
        ([dict(type='Resize', scale=9), dict(type='RandomCrop', crop_size=7)], (7, 7)),
        (
            [
                dict(
                    type='MultiView',
                    transforms=[[dict(type='Resize', scale=5)], [dict(type='Resize', scale=6)]],
                ),
                dict(type='PackInputs'),
            ],
            (5, 5),
        ),
        (
            [
                dict(type='RandomApply', transforms=[dict(type='ColorJitter')]),
                dict(type='RandomApply', transforms=[dict(type='Resize', scale=4)]),
            ],
            (4, 4),
        ),
    ],
)
def test_size_of_the_images(pipeline, size):
    assert input_size(dict(train_dataloader=dict(dataset=dict(pipeline=pipeline)))) == size


@pytest.mark.parametrize('pipeline', [None, [], [dict(type='PackInputs')]])
def test_no_size_to_be_found(pipeline):
    with pytest.raises(ValueError, match='no crop_size and no scale.*--size'):
        input_size(dict(train_dataloader=dict(dataset=dict(type='X', pipeline=pipeline))))
    with pytest.raises(ValueError, match='--size'):
        input_size({})


def test_a_model_in_hand():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(copy.deepcopy(PLAIN))
    assert model_costs(model, (SIDE, SIDE)) == costs_of(PLAIN)
    assert isinstance(costs_of(PLAIN), ModelCosts)
    assert all(parameter.grad is None for parameter in model.parameters())
