"""One meaning of alpha: it reaches every logit-adjusted loss that says nothing nearer."""

import copy
import warnings

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from lt_mm.models.alpha import hand_alpha
from lt_mm.models.counts import set_class_counts
from lt_mm.models.losses import GMLLoss, LogitAdjustedLoss, TextGMLLoss
from lt_mm.structures import ClassCounts, TextFeatures

COUNTS = ClassCounts([60, 25, 15])
LOG_PRIOR = torch.tensor([0.6, 0.25, 0.15]).log().reshape(1, 3, 1, 1)
GML = dict(size=30, min_size=2, widths=(5,))
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
# The same loss, spelt in every way that a config knows.
SPELLINGS = {
    'name': dict(type='lt_mm.{}'),
    'class': None,
    'scope': dict(type='{}', _scope_='lt_mm'),
    'both': dict(type='lt_mm.{}', _scope_='mmseg'),
}
spellings = pytest.mark.parametrize('spelling', SPELLINGS)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def spelt(kind, spelling, **changes):
    cfg = SPELLINGS[spelling] or dict(type=kind)
    if isinstance(cfg['type'], str):
        cfg = dict(cfg, type=cfg['type'].format(kind.__name__))
    return cfg | changes


def config(**changes):
    return dict(
        type='lt_mm.LongTailHead', base='FCNHead', in_channels=4, channels=4, num_convs=1,
        concat_input=False, num_classes=3, dropout_ratio=0, in_index=0, norm_cfg=dict(type='BN'),
    ) | changes  # fmt: skip


def build(**changes):
    return MODELS.build(config(**changes))


def plain(**changes):
    cfg = dict(config(type='FCNHead'), **changes)
    del cfg['base']
    return cfg


def segmentor(decode_head, auxiliary_head, kind='EncoderDecoder'):
    return MODELS.build(
        dict(
            type=kind,
            backbone=dict(
                type='ResNetV1c', depth=18, num_stages=1, out_indices=(0,), strides=(1,),
                dilations=(1,), stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'),
            ),
            decode_head=decode_head,
            auxiliary_head=auxiliary_head,
        )
    )  # fmt: skip


def test_no_alpha_is_one():
    head = build(loss_decode=ADJUSTED, contrast=dict(GML, type='lt_mm.GMLLoss'))
    assert (head.loss_decode.alpha, head.contrast.alpha, head.model_alpha) == (1.0, 1.0, None)
    set_class_counts(head, COUNTS)
    hand_alpha(head, None)
    assert (head.loss_decode.alpha, head.contrast.alpha) == (1.0, 1.0)


@pytest.mark.parametrize('alpha', [0.2, 0, 0.0, -1.0])
@spellings
def test_it_reaches_the_loss_however_its_type_is_written(spelling, alpha):
    loss = spelt(LogitAdjustedLoss, spelling)
    contrast = spelt(GMLLoss, spelling, **GML)
    for given in (loss, ConfigDict(loss)):
        head = build(alpha=alpha, loss_decode=given, contrast=contrast)
        assert (head.loss_decode.alpha, head.contrast.alpha) == (alpha, alpha)


@spellings
def test_it_reaches_a_loss_of_texts(spelling, tmp_path):
    path = tmp_path / 'texts.npz'
    TextFeatures(torch.randn(3, 4), torch.tensor([1, 1, 1]), ('a', 'b', 'c')).save(path)
    contrast = spelt(TextGMLLoss, spelling, text_features=path, widths=(5,))
    assert build(alpha=0.2, loss_decode=ADJUSTED, contrast=contrast).contrast.alpha == 0.2


@pytest.mark.parametrize('alpha', [0.5, 0.0])
@spellings
def test_what_a_loss_says_itself_is_nearer(spelling, alpha):
    head = build(
        alpha=0.2,
        loss_decode=spelt(LogitAdjustedLoss, spelling, alpha=alpha),
        contrast=spelt(GMLLoss, spelling, alpha=alpha, **GML),
    )
    set_class_counts(head, COUNTS)
    assert (head.loss_decode.alpha, head.contrast.alpha) == (alpha, alpha)


def test_lists_of_losses():
    losses = [ADJUSTED, dict(ADJUSTED, alpha=0.0, loss_name='loss_b'), dict(type='DiceLoss')]
    with pytest.warns(UserWarning, match='alpha=0.2 of LongTailFCNHead does not act on its Dice'):
        head = build(alpha=0.2, loss_decode=losses)
    assert [loss.alpha for loss in head.loss_decode[:2]] == [0.2, 0.0]


@pytest.mark.parametrize('alpha', [None, 0, 0.0])
def test_nothing_is_said_where_no_alpha_could_act(alpha):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        build(alpha=alpha, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))


def test_every_expert_has_that_of_all_or_its_own():
    contrast = dict(GML, type='lt_mm.GMLLoss')
    expert = dict(type='lt_mm.LongTailHead', base='FCNHead', contrast=contrast)
    shared = plain(alpha=0.2, loss_decode=ADJUSTED)
    del shared['type']
    experts = [expert, dict(expert, alpha=0.0), dict(expert, loss_decode=dict(ADJUSTED, alpha=2.0))]
    head = MODELS.build(dict(shared, type='lt_mm.MultiExpertDecodeHead', experts=experts))
    for _ in range(2):
        found = [(one.loss_decode.alpha, one.contrast.alpha) for one in head.experts]
        assert found == [(0.2, 0.2), (0.0, 0.0), (2.0, 0.2)]
        set_class_counts(head, COUNTS)


def test_that_of_one_expert_is_its_own_and_that_of_all_is_for_heads_beside_them_too():
    shared = plain(loss_decode=ADJUSTED)
    kind = shared.pop('type')
    experts = [dict(type=kind), dict(type='lt_mm.LongTailHead', base=kind, alpha=0.3)]
    experts = dict(shared, type='lt_mm.MultiExpertDecodeHead', experts=experts)
    model = segmentor(experts, plain(loss_decode=ADJUSTED))
    set_class_counts(model, COUNTS)
    assert [one.loss_decode.alpha for one in model.decode_head.experts] == [1.0, 0.3]
    assert model.auxiliary_head.loss_decode.alpha == 1.0
    experts.update(alpha=0.2, experts=experts['experts'][1:])
    model = segmentor(experts, plain(loss_decode=ADJUSTED))
    set_class_counts(model, COUNTS)
    assert model.decode_head.experts[0].loss_decode.alpha == 0.3
    assert model.auxiliary_head.loss_decode.alpha == 0.2


@pytest.mark.parametrize('alpha', [0.2, 0.0])
@spellings
def test_heads_beside_it_follow_when_they_get_the_counts(spelling, alpha):
    """Also in a plain EncoderDecoder, which knows nothing of an alpha."""
    loss = spelt(LogitAdjustedLoss, spelling)
    auxiliary = [
        plain(loss_decode=loss),
        plain(loss_decode=[dict(loss, alpha=0.9), dict(type='DiceLoss', loss_name='loss_dice')]),
        config(loss_decode=loss, alpha=0.5),
        config(loss_decode=loss),
    ]
    model = segmentor(config(alpha=alpha, loss_decode=loss), copy.deepcopy(auxiliary))
    heads = model.auxiliary_head
    assert heads[0].loss_decode.alpha == 1.0
    for _ in range(2):
        set_class_counts(model, COUNTS)
        assert model.decode_head.loss_decode.alpha == alpha
        assert [
            *(heads[0].loss_decode.alpha, heads[1].loss_decode[0].alpha),
            *(heads[2].loss_decode.alpha, heads[3].loss_decode.alpha),
        ] == [alpha, 0.9, 0.5, alpha]


def test_that_of_an_auxiliary_head_is_its_own():
    open_, own = config(loss_decode=ADJUSTED), config(loss_decode=ADJUSTED, alpha=2.0)
    shared = dict(plain(loss_decode=ADJUSTED), type='lt_mm.MultiExpertDecodeHead')
    experts = dict(shared, experts=[dict(type='FCNHead')])
    for main in (open_, plain(loss_decode=ADJUSTED), experts):
        model = segmentor(copy.deepcopy(main), [copy.deepcopy(own), plain(loss_decode=ADJUSTED)])
        set_class_counts(model, COUNTS)
        heads = model.auxiliary_head
        assert [one.loss_decode.alpha for one in heads] == [2.0, 1.0]
        losses = [one for one in model.decode_head.modules() if isinstance(one, LogitAdjustedLoss)]
        assert [one.alpha for one in losses] == [1.0]
        # Also before anything else is in it, and inside of a wrapper.
        set_class_counts(torch.nn.ModuleDict(dict(module=model)), COUNTS)
        assert [one.alpha for one in losses] == [1.0]


def test_the_numbers_that_come_of_it():
    model = segmentor(config(alpha=0.3, loss_decode=ADJUSTED), plain(loss_decode=ADJUSTED))
    set_class_counts(model, COUNTS)
    labels = torch.randint(3, (2, 1, 16, 16))
    labels[:, :, :4] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]
    inputs = torch.randn(2, 3, 16, 16)
    losses = model.train()(inputs, samples, mode='loss')
    features = model.extract_feat(inputs)
    for name, head in (('decode', model.decode_head), ('aux', model.auxiliary_head)):
        logits = F.interpolate(head(features), size=(16, 16), mode='bilinear')
        expected = F.cross_entropy(logits + 0.3 * LOG_PRIOR, labels[:, 0], ignore_index=255)
        torch.testing.assert_close(losses[f'{name}.loss_cls'], expected)


def test_no_counts_are_needed_where_nothing_is_adjusted():
    head = build(alpha=0, loss_decode=ADJUSTED)
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    torch.testing.assert_close(head.loss_decode(logits, labels), F.cross_entropy(logits, labels))
