"""Options of LongTailHead together, their ranges and older names; copies of what they make."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from decode_heads import (
    ADJUSTED,
    GML,
    LAST,
    PRIOR,
    batch,
    config,
    inputs_of,
    long_tail,
    losses_in,
    predict,
    step,
)
from mmengine.model import BaseModule, ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from lt_mm.models.counts import set_class_counts
from lt_mm.models.layers import DisAlign
from lt_mm.structures import ClassCounts

CLASSIFIERS = {
    'linear': dict(),
    'cosine': dict(classifier='cosine', classifier_temperature=0.2),
    'tau_normalized': dict(classifier='tau_normalized'),
    'layer': dict(classifier=dict(type='lt_mm.TauNormConv2d', tau=0.5, keep_bias=True)),
}
CONTRASTS = {
    'none': None,
    'GML': GML,
    'SupCon': dict(type='lt_mm.SupConLoss', widths=(6,)),
    'BCL': dict(type='lt_mm.BCLLoss', widths=(6,)),
    'PaCo': dict(type='lt_mm.PaCoLoss', widths=(6,), size=16),
    'TextGML': dict(type='lt_mm.TextGMLLoss', widths=(6,)),
}
ALIGNMENTS = [None, dict(type='lt_mm.LearnableWeightScaling'), dict(type='lt_mm.DisAlign')]
COMPENSATIONS = [None, dict(alpha=0.7), dict(target=[1, 1, 1, 2])]
BAD = [0, -0.1, float('inf'), float('nan')]
EVERYTHING = dict(
    classifier='cosine',
    loss_decode=ADJUSTED,
    alignment=dict(type='lt_mm.DisAlign'),
    post_compensation=dict(),
    contrast=GML,
    distillation=dict(type='lt_mm.KDLoss'),
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture
def texts(tmp_path):
    features = np.random.default_rng(0).standard_normal((4, 2, 5)).astype(np.float32)
    np.savez(tmp_path / 'texts.npz', features=features)
    return str(tmp_path / 'texts.npz')


def naive_logits(kind, head, features):
    """Of (D,) features of a pixel, in eval mode, pixel by pixel."""
    weight = head.conv_seg.weight.flatten(1)
    norms = weight.norm(dim=1)
    if kind == 'cosine':
        logits = weight @ features / (norms * features.norm() * 0.2)
    elif kind == 'tau_normalized':
        logits = weight @ features / norms
    elif kind == 'layer':
        logits = weight @ features / norms.sqrt() + head.conv_seg.bias
    else:
        logits = weight @ features + head.conv_seg.bias
    aligned = head.alignment
    if isinstance(aligned, DisAlign):
        share = torch.sigmoid(aligned.confidence.weight[0] @ features + aligned.confidence.bias)
        logits = share * (aligned.scale * logits + aligned.shift) + (1 - share) * logits
    elif aligned is not None:
        logits = aligned.scale * logits
    return logits


@pytest.mark.parametrize('compensation', COMPENSATIONS, ids=['', 'alpha', 'target'])
@pytest.mark.parametrize('alignment', ALIGNMENTS, ids=['', 'LWS', 'DisAlign'])
@pytest.mark.parametrize('kind', CLASSIFIERS)
def test_predictions_are_what_the_formulas_say(kind, alignment, compensation):
    head = long_tail(
        **CLASSIFIERS[kind], alignment=alignment, post_compensation=compensation
    ).eval()
    if alignment is not None:
        for one in head.alignment.parameters():
            nn.init.normal_(one)
    features = torch.randn(1, 8, 2, 3)
    found = head.cls_seg(features)
    for i in range(2):
        for j in range(3):
            expected = naive_logits(kind, head, features[0, :, i, j])
            if compensation is not None:
                expected = expected - compensation.get('alpha', 1.0) * PRIOR.log()
                if 'target' in compensation:
                    expected = expected + torch.tensor([0.2, 0.2, 0.2, 0.4]).log()
            torch.testing.assert_close(found[0, :, i, j], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('further', [0, 1, 2], ids=['', 'LWS', 'DisAlign'])
@pytest.mark.parametrize('contrast', CONTRASTS)
@pytest.mark.parametrize('kind', CLASSIFIERS)
def test_every_pairing_trains_and_predicts(kind, contrast, further, texts):
    given = CONTRASTS[contrast]
    if contrast == 'TextGML':
        given = dict(given, text_features=texts)
    head = long_tail(
        **CLASSIFIERS[kind], contrast=given, alignment=ALIGNMENTS[further],
        post_compensation=COMPENSATIONS[further], loss_decode=ADJUSTED,
    )  # fmt: skip
    losses, _ = step(head, batch(size=8))
    assert 'loss_cls' in losses and len(losses_in(losses)) == 1 + (contrast != 'none')
    assert all(value.isfinite() for value in losses.values())
    for name, one in head.named_parameters():
        # PaCo's MLP of the keys is an average.
        assert 'key_mlp.module' in name or one.grad.isfinite().all(), name
    logits = predict(head, inputs_of(size=8), size=8)
    assert logits.shape == (2, 4, 8, 8) and logits.isfinite().all()


@pytest.mark.parametrize('preset', [None, 'lt_mm.GMLFCNHead'])
@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (
            dict(gml=dict(size=40)),
            r"gml of .* another name now; use contrast=dict\(type='lt_mm.GML",
        ),
        (dict(temperature=0.1), 'temperature of .* has another name now; use classifier_temperatu'),
    ],
)
def test_arguments_of_earlier_versions_name_their_successors(preset, old, new):
    cfg = config(**old)
    if preset is not None:
        cfg['type'] = preset
        del cfg['base']
    experts = dict(type='lt_mm.MultiExpertDecodeHead', experts=[cfg, cfg])
    for one in (cfg, experts):
        with pytest.raises(TypeError, match=new):
            MODELS.build(copy.deepcopy(one))


def test_an_argument_of_the_base_is_no_argument_of_an_earlier_version():
    head = long_tail('DNLHead', **LAST, temperature=0.3, classifier='cosine')
    assert head.dnl_block.temperature == 0.3 and head.conv_seg.temperature == 0.05


@pytest.mark.parametrize('value', BAD)
def test_temperatures_out_of_range(value):
    def refuses(message, **changes):
        with pytest.raises(ValueError, match=message):
            MODELS.build(config(**changes))

    message = f'classifier_temperature of LongTailFCNHead is {value}, but it must be positive and'
    refuses(message, classifier='cosine', classifier_temperature=value)
    layer = dict(type='lt_mm.CosineConv2d', temperature=value)
    refuses(f'temperature of the cosine classifier is {value}, but', classifier=layer)
    for further in (dict(), dict(trainable_temperature=True)):
        mixture = dict(GML, mixture_temperature=value, **further)
        refuses(f'temperature of .*GMLLoss is {value}, but it must be positive', contrast=mixture)
    adjusted = dict(ADJUSTED, temperature=value)
    refuses(f'temperature of LogitAdjustedLoss is {value}, but it must', loss_decode=adjusted)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_alpha_that_is_not_finite(value):
    for changes in (
        dict(alpha=value),
        dict(alpha=value, loss_decode=dict(ADJUSTED, alpha=0.5)),
        dict(contrast=dict(GML, alpha=value)),
        dict(loss_decode=dict(ADJUSTED, alpha=value)),
        dict(post_compensation=dict(alpha=value)),
    ):
        with pytest.raises(ValueError, match=rf'alpha of \w+ is {value}, but it must be finite'):
            MODELS.build(config(**changes))


@pytest.mark.parametrize('value', ['1', True, [0.5]])
def test_alpha_and_temperature_that_are_no_numbers(value):
    for changes in (
        dict(alpha=value),
        dict(contrast=dict(GML, alpha=value)),
        dict(loss_decode=dict(ADJUSTED, alpha=value)),
        dict(post_compensation=dict(alpha=value)),
    ):
        with pytest.raises(ValueError, match=rf'alpha of \w+ is {re.escape(repr(value))}, but it'):
            MODELS.build(config(**changes))
    with pytest.raises(
        ValueError, match='classifier_temperature of LongTailFCNHead is .* positive'
    ):
        MODELS.build(config(classifier='cosine', classifier_temperature=value))


@pytest.mark.parametrize('value', ['lt_mm.DisAlign', True, [dict(type='lt_mm.DisAlign')]])
@pytest.mark.parametrize('option', ['alignment', 'post_compensation', 'contrast', 'distillation'])
def test_parts_that_are_no_configs(option, value):
    told = rf'{option} of \w+ is {re.escape(repr(value))}, but it must be the config of a part'
    with pytest.raises(ValueError, match=told):
        MODELS.build(config(**{option: value}))


@pytest.mark.parametrize(('part', 'option'), [(GML, 'contrast'), (ADJUSTED, 'loss')])
def test_a_loss_is_no_alignment(part, option):
    with pytest.raises(ValueError, match=f'gives a loss and no logits; .* as {option} of the head'):
        MODELS.build(config(alignment=part))


@pytest.mark.parametrize(('part', 'option'), [(GML, 'contrast'), (ADJUSTED, 'loss')])
def test_a_loss_is_no_distillation(part, option):
    told = f'takes no logits of a teacher; .* as {option} of the head'
    with pytest.raises(ValueError, match=told):
        MODELS.build(config(distillation=part))


def test_a_base_has_to_be_named():
    with pytest.raises(ValueError, match="base of LongTailHead is missing; .* base='FCNHead'"):
        MODELS.build(dict(type='lt_mm.LongTailHead', in_channels=4, channels=4, num_classes=3))


@pytest.mark.parametrize('base', ['', ' ', '.', 'mmseg.', 'a..b'])
def test_no_name_of_a_base(base):
    with pytest.raises(ValueError, match=f"is '{re.escape(base)}', which is no known head"):
        MODELS.build(config(base=base))


@pytest.mark.parametrize('value', [0, -1])
def test_no_keys_per_class(value):
    with pytest.raises(ValueError, match=f'keys_per_class of LongTailFCNHead is {value}, but .* 1'):
        MODELS.build(config(keys_per_class=value))


def test_what_was_added_is_initialised_as_it_says_itself_and_not_as_the_base_says():
    config_of_all = dict(type='Constant', val=0.25, layer=['Conv2d', 'Linear'])
    head = long_tail(init_cfg=config_of_all, **dict(EVERYTHING, classifier='linear'))
    assert (head.conv_seg.weight == 0.25).all() and (head.convs[0].conv.weight == 0.25).all()
    assert not (head.contrast.query_mlp.layers[0].weight == 0.25).any()
    assert (head.alignment.confidence.weight == 0.1).all()


def test_an_alignment_with_an_init_cfg():
    class Shift(BaseModule):
        def __init__(self, num_classes, in_channels):
            super().__init__(init_cfg=dict(type='Constant', val=3.0, layer='Linear'))
            self.layer = nn.Linear(in_channels, num_classes)

        def forward(self, logits, features):
            return logits + self.layer(features.movedim(1, -1)).movedim(-1, 1)

    assert (long_tail(alignment=dict(type=Shift)).alignment.layer.weight == 3.0).all()


def copies_of(head):
    return copy.deepcopy(head), pickle.loads(pickle.dumps(head))


@pytest.mark.parametrize('base', ['FCNHead', 'DDRHead'])
def test_copies_before_and_after_a_step(base):
    options = dict(EVERYTHING)
    if base == 'DDRHead':
        del options['loss_decode']
    head, data = long_tail(base, **options, dropout_ratio=0), batch(base)
    inputs = inputs_of(base, training=False)
    head.distillation = None
    for trained in (False, True):
        for other in copies_of(head):
            assert type(other) is type(head) and other.base_class is head.base_class
            state = other.state_dict()
            assert state.keys() == head.state_dict().keys()
            assert all(torch.equal(one, state[name]) for name, one in head.state_dict().items())
            assert torch.equal(predict(other, inputs), predict(head, inputs))
            losses = []
            for one in (other, copy.deepcopy(head)):
                torch.manual_seed(1)  # for the pixels that become keys
                losses.append(step(one.train(), data)[0])
            assert losses[0].keys() == losses[1].keys() >= {'loss_gml'}
            for name, value in losses[0].items():
                torch.testing.assert_close(value, losses[1][name])
            assert other.contrast.queue.filled.any()
        assert head.contrast.queue.filled.any() == trained
        # A forward whose losses are never asked for leaves features with a graph behind.
        head.train()
        step(head, data)
        head(data[0])


def test_an_averaged_copy_follows_and_predicts():
    head = long_tail(**EVERYTHING)
    average, data = ExponentialMovingAverage(head, momentum=0.5), batch()
    before = head.conv_seg.weight.detach().clone()
    with torch.no_grad():
        head.conv_seg.weight.add_(1.0)
    average.update_parameters(head)
    average.update_parameters(head)
    torch.testing.assert_close(average.module.conv_seg.weight, before + 1.0)
    assert type(average.module) is type(head) and average.module.contrast is not head.contrast
    assert average.module.eval()(data[0]).shape == (2, 4, 4, 4)
    set_class_counts(average, ClassCounts([1, 1, 1, 1]))
    assert head.contrast.class_counts.counts.tolist() == [50, 30, 15, 5]


def test_additions_to_the_state_have_names_of_their_own():
    names = set(long_tail(**EVERYTHING).state_dict()) - set(long_tail().state_dict())
    assert {name.split('.')[0] for name in names} == {
        *('alignment', 'contrast', 'loss_decode', 'post_compensation')
    }
    head = long_tail(classifier='cosine')
    assert set(long_tail().state_dict()) - set(head.state_dict()) == {'conv_seg.bias'}
    assert head.conv_seg.weight.shape == (4, 8)


def test_cosines_in_half_precision():
    """Divided by a small temperature, they would be too coarse."""
    head, features = long_tail(classifier='cosine').eval(), torch.randn(1, 8, 2, 2)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = head.cls_seg(features)
    weight = F.normalize(head.conv_seg.weight, dim=1)[:, :, None, None]
    expected = F.conv2d(F.normalize(features, dim=1), weight) / 0.05
    torch.testing.assert_close(found, expected)
