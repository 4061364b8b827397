"""Which plain model a segmentor becomes, and why a cosine classifier needs a head of its own."""

from copy import deepcopy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from torch.nn import functional as F

from lt_mm.export.plain_segmentor import plain_segmentor
from lt_mm.models.heads import GMLHeadMixin

LOSS = dict(type='lt_mm.LogitAdjustedLoss')
PLAIN = dict(
    type='FCNHead',
    in_channels=32, in_index=3, channels=8, num_classes=4, num_convs=1, concat_input=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def export(cfg, checkpoint):
    return plain_segmentor(cfg.to_dict()['model'], checkpoint['state_dict'])


def test_folding_the_weight_alone_changes_classes_after_upsampling(config, trained):
    """Why a cosine head needs its module: per feature the best class stays, between them not."""
    cfg = config('Cosine', 'cosine', 'FCNHead')
    model, checkpoint = trained(cfg)
    plain, state, modules = export(cfg, checkpoint)
    assert list(modules) == ['normalized_fcnhead']
    plain['decode_head']['type'] = 'FCNHead'
    naive = MODELS.build(plain).eval()
    naive.load_state_dict(state)
    inputs = [None, None, None, torch.randn(8, 32, 16, 16)]
    with torch.no_grad():
        exact, other = model.decode_head(inputs), naive.decode_head(inputs)
    assert torch.equal(other.argmax(1), exact.argmax(1))
    exact, other = (F.interpolate(x, scale_factor=8, mode='bilinear') for x in (exact, other))
    differing = (exact.argmax(1) != other.argmax(1)).float().mean()
    assert differing > 0.01


def test_losses_of_lt_mm_on_a_plain_head(config, trained):
    cfg = config('GML', 'linear', 'FCNHead')
    cfg.model.decode_head = dict(PLAIN, loss_decode=[LOSS, LOSS])
    model, state, modules = export(cfg, trained(cfg)[1])
    assert modules == {}
    assert model['decode_head'] == dict(PLAIN, loss_decode=dict(type='CrossEntropyLoss'))
    assert not [name for name in state if 'loss' in name]


def test_heads_of_a_cascade(config, trained):
    cfg = config('GML', 'linear', 'FCNHead')
    first = dict(PLAIN, type='lt_mm.CosineFCNHead', loss_decode=LOSS)
    second = dict(
        type='OCRHead', in_channels=32, in_index=3, channels=8, ocr_channels=4, num_classes=4
    )
    cfg.model.update(type='CascadeEncoderDecoder', num_stages=2, decode_head=[first, second])
    state_dict = MODELS.build(deepcopy(cfg.model)).state_dict()
    model, state, modules = export(cfg, dict(state_dict=state_dict))
    assert [head['type'] for head in model['decode_head']] == ['NormalizedFCNHead', 'OCRHead']
    assert list(modules) == ['normalized_fcnhead']
    directions = F.normalize(state_dict['decode_head.0.conv_seg.weight'], dim=1)
    torch.testing.assert_close(
        state['decode_head.0.conv_seg.weight'][:, :, 0, 0], directions / 0.05
    )
    for name, weight in state_dict.items():
        if name.startswith('decode_head.1.'):
            assert torch.equal(state[name], weight), name


@MODELS.register_module()
class OwnHead(FCNHead):
    pass


@MODELS.register_module()
class GMLOwnHead(GMLHeadMixin, OwnHead):
    pass


@pytest.mark.parametrize('classifier', ['linear', 'cosine'])
def test_head_of_a_user(config, trained, classifier):
    cfg = config('GML', classifier, 'FCNHead')
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head.update(type='GMLOwnHead', loss_decode=None)
    model, _, modules = export(cfg, trained(cfg)[1])
    if classifier == 'linear':
        assert modules == {}
        assert MODELS.get(model['decode_head']['type']) is OwnHead
    else:
        assert f'from {OwnHead.__module__} import OwnHead' in modules['normalized_ownhead']
        assert model['decode_head']['type'] == 'NormalizedOwnHead'


def test_weights_that_do_not_fit(config, trained):
    linear, cosine = config('GML', 'linear', 'FCNHead'), config('GML', 'cosine', 'FCNHead')
    with pytest.raises(ValueError, match=r'conv_seg.weight .* shape \(4, 8, 1, 1\)'):
        export(cosine, trained(linear)[1])
    with pytest.raises(ValueError, match='does not fit .*decode_head.conv_seg.bias'):
        export(linear, trained(cosine)[1])
    _, checkpoint = trained(cosine)
    checkpoint['state_dict']['backbone.extra'] = torch.zeros(1)
    with pytest.raises(ValueError, match='does not fit .*backbone.extra'):
        export(cosine, checkpoint)
    with pytest.raises(ValueError, match='shape None'):
        export(cosine, dict(state_dict={}))


def test_models_that_cannot_be_exported(config, trained):
    cfg = config('GML', 'linear', 'FCNHead')
    _, checkpoint = trained(cfg)
    with pytest.raises(ValueError, match='ImageClassifier without decode_head'):
        plain_segmentor(dict(type='ImageClassifier'), {})
    cfg.model.backbone.plugin = dict(type='lt_mm.SomePlugin')
    with pytest.raises(ValueError, match='model.backbone needs lt_mm'):
        export(cfg, checkpoint)
    cfg.model.backbone.pop('plugin')
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head = PLAIN
    with pytest.raises(ValueError, match=r'nothing of lt_mm \(decode_head: FCNHead\)'):
        export(cfg, checkpoint)
