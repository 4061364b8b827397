"""Which plain model a segmentor becomes, and why a cosine classifier needs a head of its own."""

from copy import deepcopy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from torch.nn import functional as F

from lt_mm.export.segmentor import plain_segmentor

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
    assert modules == ['normalized_decode_head']
    plain['decode_head']['type'] = plain['decode_head'].pop('base')
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
    assert modules == []
    assert model['decode_head'] == dict(PLAIN, loss_decode=dict(type='CrossEntropyLoss'))
    assert not [name for name in state if 'loss' in name]


def test_heads_of_a_cascade(config, trained):
    cfg = config('GML', 'linear', 'FCNHead')
    first = dict(PLAIN, type='lt_mm.CosineFCNHead', loss_decode=LOSS)
    second = dict(
        type='OCRHead', in_channels=32, in_index=3, channels=8, ocr_channels=4, num_classes=4
    )
    cfg.model.update(
        type='lt_mm.LongTailCascadeEncoderDecoder', num_stages=2, decode_head=[first, second]
    )
    state_dict = MODELS.build(deepcopy(cfg.model)).state_dict()
    model, state, modules = export(cfg, dict(state_dict=state_dict))
    types = [head['type'] for head in model['decode_head']]
    assert types == ['NormalizedDecodeHead', 'OCRHead'] and model['type'] == 'CascadeEncoderDecoder'
    assert modules == ['normalized_decode_head']
    directions = F.normalize(state_dict['decode_head.0.conv_seg.weight'], dim=1)
    torch.testing.assert_close(
        state['decode_head.0.conv_seg.weight'][:, :, 0, 0], directions / 0.05
    )
    for name, weight in state_dict.items():
        if name.startswith('decode_head.1.'):
            assert torch.equal(state[name], weight), name


@MODELS.register_module()
class OwnFCNHead(FCNHead):
    pass


@pytest.mark.parametrize('classifier', ['linear', 'cosine'])
def test_head_of_a_user(config, trained, classifier):
    cfg = config('GML', classifier, 'FCNHead')
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head.update(type='lt_mm.LongTailHead', base='OwnFCNHead', loss_decode=LOSS)
    cfg.model.decode_head.contrast.type = 'lt_mm.GMLLoss'
    model, _, modules = export(cfg, trained(cfg)[1])
    head = model['decode_head']
    assert modules == (['normalized_decode_head'] if classifier == 'cosine' else [])
    assert MODELS.get(head.get('base', head['type'])) is OwnFCNHead


OPTIONS = {
    'lws': dict(alignment=dict(type='lt_mm.LearnableWeightScaling')),
    'tau': dict(classifier=dict(type='lt_mm.TauNormConv2d', tau=0.5)),
    'compensated': dict(post_compensation=dict(alpha=0.7)),
    'all': dict(
        classifier='cosine',
        alignment=dict(type='lt_mm.LearnableWeightScaling'),
        post_compensation=dict(),
        distillation=dict(type='lt_mm.KDLoss'),
    ),
    'disalign': dict(alignment=dict(type='lt_mm.DisAlign')),
}


@pytest.mark.parametrize('name', OPTIONS)
def test_options_of_a_head_are_folded(config, trained, name):
    cfg = config('GML', 'linear', 'FCNHead')
    head = {**PLAIN, 'type': 'lt_mm.LongTailHead', 'base': 'FCNHead', 'loss_decode': LOSS}
    cfg.model.decode_head = {**head, **OPTIONS[name]}
    cfg.model.update(type='lt_mm.LongTailEncoderDecoder', freeze_encoder=True, auxiliary_head=None)
    if 'distillation' in OPTIONS[name]:
        cfg.model.teacher = dict()
    model, checkpoint = trained(cfg)
    for part in model.decode_head.modules():
        if hasattr(part, 'scale'):
            torch.nn.init.uniform_(part.scale, 0.5, 2)
    checkpoint['state_dict'] = model.state_dict()
    if name == 'disalign':
        with pytest.raises(ValueError, match='confidence of DisAlign differs'):
            export(cfg, checkpoint)
        return
    plain, weights, _ = export(cfg, checkpoint)
    assert plain['type'] == 'EncoderDecoder' and 'freeze_encoder' not in plain
    rebuilt = MODELS.build(plain)
    rebuilt.load_state_dict(weights)
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = (m.eval()(inputs, mode='tensor') for m in (model, rebuilt))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_from_before_contrast_had_its_name(config, trained):
    cfg = config('GML', 'cosine', 'FCNHead')
    _, checkpoint = trained(cfg)
    new = export(cfg, checkpoint)
    weights = checkpoint['state_dict']
    for name in [name for name in weights if '.contrast.' in name]:
        weights[name.replace('.contrast.', '.gml.')] = weights.pop(name)
    old = export(cfg, checkpoint)
    assert old.config == new.config and old.weights.keys() == new.weights.keys()
    assert not any('gml' in name or 'contrast' in name for name in old.weights)


def test_weights_that_do_not_fit(config, trained):
    linear, cosine = config('GML', 'linear', 'FCNHead'), config('GML', 'cosine', 'FCNHead')
    with pytest.raises(ValueError, match='does not fit .*conv_seg'):
        export(cosine, trained(linear)[1])
    with pytest.raises(ValueError, match='does not fit .*conv_seg'):
        export(linear, trained(cosine)[1])
    _, checkpoint = trained(cosine)
    checkpoint['state_dict']['backbone.extra'] = torch.zeros(1)
    with pytest.raises(ValueError, match='does not fit .*backbone.extra'):
        export(cosine, checkpoint)
    with pytest.raises(ValueError, match='does not fit .*conv_seg.weight'):
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
    with pytest.raises(ValueError, match='expert is 1, but the decode_head is no'):
        plain_segmentor(cfg.to_dict()['model'], checkpoint['state_dict'], expert=1)
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head = PLAIN
    _, checkpoint = trained(cfg)
    with pytest.raises(ValueError, match=r'nothing of lt_mm \(decode_head: FCNHead\)'):
        export(cfg, checkpoint)
