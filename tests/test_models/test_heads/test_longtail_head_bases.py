"""LongTailHead on the heads of mmsegmentation and of others: which work, and which say why not."""

import copy
import pickle

import pytest
import torch
from decode_heads import (
    ADJUSTED,
    BASES,
    GML,
    LAST,
    SIX,
    batch,
    built,
    config,
    inputs_of,
    long_tail,
    losses_in,
    plain,
    predict,
    step,
)
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint, turn_on_activation_checkpointing
from mmseg.models.decode_heads import FCNHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lt_mm.models.counts import set_class_counts
from lt_mm.models.heads import LongTailHead
from lt_mm.structures import ClassCounts

ADDED = ('alignment.', 'post_compensation.', 'contrast.', 'distillation.')
OPTIONS = dict(
    alignment=dict(type='lt_mm.DisAlign'),
    contrast=GML,
    distillation=dict(type='lt_mm.KDLoss'),
    post_compensation=dict(alpha=0.0),
)
OHEM = dict(type='OhemCrossEntropy', min_kept=20)
# Losses of mmsegmentation know no other label to ignore when they are told of none.
OF_MMSEG = {
    'DDRHead': dict(loss_decode=[OHEM, OHEM]),
    'PIDHead': dict(
        loss_decode=[dict(type='CrossEntropyLoss'), OHEM, dict(type='BoundaryLoss'), OHEM]
    ),
}


@MODELS.register_module()
class HeadOfAUser(BaseDecodeHead):
    """It scales what it is given, in a way that no other head does."""

    def __init__(self, scale=2.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = nn.Parameter(torch.full((self.channels, 1, 1), scale))

    def forward(self, inputs):
        return self.cls_seg(self.scale * self._transform_inputs(inputs))


@MODELS.register_module()
class HeadThatPassesClsSegBy(FCNHead):
    def forward(self, inputs):
        return self.conv_seg(self._forward_feature(inputs))


@MODELS.register_module()
class HeadThatClassifiesTwice(FCNHead):
    def forward(self, inputs):
        features = self._forward_feature(inputs)
        return self.cls_seg(features) + self.cls_seg(-features)


@MODELS.register_module()
class HeadWithAnotherClassifier(FCNHead):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.final = nn.Conv2d(8, 4, 1)

    def cls_seg(self, feat):
        return self.final(feat)


@MODELS.register_module()
class HeadWithTheWeightAlone(FCNHead):
    def cls_seg(self, feat):
        return F.conv2d(feat, self.conv_seg.weight, self.conv_seg.bias)


@MODELS.register_module()
class HeadThatFails(FCNHead):
    def forward(self, inputs):
        raise RuntimeError('out of something')


@MODELS.register_module()
class HeadOfAConvolution(FCNHead):
    def __init__(self, convolution, **kwargs):
        super().__init__(**kwargs)
        self.conv_seg = nn.Conv2d(8, 4, **convolution)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.mark.parametrize('base', BASES)
def test_it_has_the_weights_of_the_plain_head_and_predicts_as_that(base):
    other, head = plain(base), long_tail(base, **OPTIONS)
    state = other.state_dict()
    own = {name: one for name, one in head.state_dict().items() if not name.startswith(ADDED)}
    assert {name: one.shape for name, one in own.items()} == {
        name: one.shape for name, one in state.items()
    }
    assert list(own) == list(state)
    missing, unexpected = head.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith(ADDED) for name in missing)
    inputs, results = inputs_of(base, training=False), []
    for one in (other, head):
        torch.manual_seed(0)  # LightHamHead draws
        results.append(predict(one, inputs))
    assert results[0].shape == (2, 4, 16, 16)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize('base', BASES)
def test_it_trains_with_gml_and_predicts(base):
    loss = BASES[base].get('loss_decode', ADJUSTED)
    head = long_tail(base, classifier='cosine', alpha=0.3, contrast=GML, loss_decode=loss)
    data = batch(base)
    expected, moved_by_it = step(plain(base, **OF_MMSEG.get(base, {})), data)
    losses, moved = step(head, data)
    keys = {name.replace('loss_ce', 'loss_cls') for name in losses_in(expected)}
    assert losses_in(losses).keys() == keys | {'loss_gml'}
    assert all(value.isfinite() for value in losses.values()) and losses['loss_gml'] > 0
    added = {name for name, _ in head.named_parameters() if name.startswith('contrast.')}
    assert moved == moved_by_it - {'conv_seg.bias'} | added
    assert all(one.grad.isfinite().all() for one in head.parameters() if one.requires_grad)
    assert head.contrast.queue.filled.any()
    logits = predict(head, inputs_of(base, training=False))
    assert logits.shape == (2, 4, 16, 16) and logits.isfinite().all()


@pytest.mark.parametrize('base', SIX)
def test_queries_are_what_the_classifier_sees(base):
    """What is compared, classified without dropout, gives the logits of an evaluation."""
    head, seen = long_tail(base, contrast=GML, dropout_ratio=0.5), []
    head.contrast.contrast = lambda batch: seen.append(batch) or {}
    inputs, samples = batch(base)
    for sample in samples:
        sample.gt_sem_seg.data[:] = 1
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    head.loss(inputs, samples, {})
    logits = head.eval()(inputs)
    torch.testing.assert_close(seen[0].classifier(seen[0].queries[0]), logits.movedim(
        1, -1
    ).flatten(0, 2))  # fmt: skip


@pytest.mark.parametrize('base', ['HeadOfAUser', 'mmseg.HeadOfAUser', HeadOfAUser])
def test_a_head_of_a_user_that_is_in_the_registry_or_given_as_a_class(base):
    head = long_tail(base, **LAST, scale=3.0, classifier='cosine', contrast=GML)
    assert isinstance(head, HeadOfAUser) and (head.scale == 3.0).all()
    losses, moved = step(head, batch())
    assert 'loss_gml' in losses and {'scale', 'conv_seg.weight'} <= moved
    assert predict(head, inputs_of()).shape == (2, 4, 16, 16)


class WrittenByAUser(LongTailHead, HeadOfAUser):
    """What can be written down, too, and pickled as what it is."""


def test_a_class_that_a_user_writes():
    head = built(
        config(None, type=WrittenByAUser, **LAST, classifier='cosine', contrast=GML, scale=3.0)
    )
    assert type(head) is WrittenByAUser and (head.scale == 3.0).all()
    assert 'loss_gml' in step(head, batch())[0]
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert type(other) is WrittenByAUser
        assert torch.equal(predict(other, (inputs := inputs_of())), predict(head, inputs))
    same = built(config('HeadOfAUser', type=LongTailHead, **LAST))
    assert same.state_dict().keys() <= head.state_dict().keys() | {'conv_seg.bias'}


def test_a_head_of_a_users_own_package(tmp_path, monkeypatch):
    (tmp_path / 'pkg_of_a_user').mkdir()
    (tmp_path / 'pkg_of_a_user' / '__init__.py').touch()
    (tmp_path / 'pkg_of_a_user' / 'registry.py').write_text(
        'from mmengine.registry import MODELS as PARENT, Registry\n'
        "MODELS = Registry('model', parent=PARENT, locations=['pkg_of_a_user.heads'])\n"
    )
    (tmp_path / 'pkg_of_a_user' / 'heads.py').write_text(
        'from mmseg.models.decode_heads import FCNHead\n'
        'from pkg_of_a_user.registry import MODELS\n'
        '@MODELS.register_module()\n'
        'class TheirHead(FCNHead):\n'
        '    pass\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    fcn = dict(LAST, num_convs=1, concat_input=False)
    head = long_tail('pkg_of_a_user.TheirHead', **fcn, contrast=GML)
    assert head.base_class.__name__ == 'TheirHead'
    assert 'loss_gml' in step(head, batch())[0]


def refuses(message, error=ValueError, **changes):
    with pytest.raises(error, match=message):
        MODELS.build(config(**changes))


@pytest.mark.parametrize(
    ('base', 'message'),
    [
        (
            'Mask2FormerHead',
            'no BaseDecodeHead of mmsegmentation .* heads of queries .* choose one',
        ),
        ('MaskFormerHead', 'no BaseDecodeHead of mmsegmentation .* heads of queries .* choose one'),
        ('IterativeDecodeHead', 'kernels of several stages; .* loss_decode of its kernel_generate'),
        ('PointHead', 'PointHead, which classifies points by fc_seg; .* head before it'),
        ('STDCHead', 'learns the boundaries of the labels, .* LongTailHead around the decode_head'),
        ('CrossEntropyLoss', 'CrossEntropyLoss, which is no BaseDecodeHead'),
        ('SegFormerHead', "'SegFormerHead', which is no known head; perhaps 'SegformerHead'"),
        ('lt_mm.LongTailHead', 'which has these options already; name the plain head'),
        (None, 'base of LongTailHead is missing; name the head that it wraps, such as'),
        (3, "base of LongTailHead is 3, which is no known head; name one such as 'FCNHead'"),
    ],
)
def test_heads_that_cannot_have_the_options(base, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='lt_mm.LongTailHead', base=base, num_classes=4))


def test_a_head_that_takes_its_classifier_away():
    segmenter = dict(**LAST, num_layers=1, num_heads=2, embed_dims=8)
    message = 'LongTailSegmenterMaskTransformerHead has no conv_seg, because its base does not cl'
    refuses(message, base='SegmenterMaskTransformerHead', **segmenter, norm_cfg=dict(type='LN'))


def test_a_head_that_passes_its_classifier_by_is_told_at_once():
    head = long_tail('HeadThatPassesClsSegBy', **SIX['FCNHead'], alignment=OPTIONS['alignment'])
    for mode in (True, False):
        with pytest.raises(RuntimeError, match='gave logits without calling cls_seg, so .* choose'):
            head.train(mode)(inputs_of())


@pytest.mark.parametrize('base', [HeadWithAnotherClassifier, 'HeadWithTheWeightAlone'])
@pytest.mark.parametrize(
    'options',
    [
        dict(classifier='cosine'),
        dict(classifier='tau_normalized'),
        dict(classifier=dict(type='lt_mm.CosineConv2d')),
        dict(contrast=GML),
        dict(alignment=dict(type='lt_mm.DisAlign')),
        dict(alignment=dict(type='lt_mm.LearnableWeightScaling'), freeze_classifier=True),
    ],
)
def test_an_option_on_a_classifier_that_is_not_called_is_told_at_once(base, options):
    head = long_tail(base, **SIX['FCNHead'], **options)
    message = 'uses its classifier conv_seg 0 times for one batch.*choose a base whose cls_seg'
    with pytest.raises(RuntimeError, match=message):
        head.loss(*batch(), {})
    with pytest.raises(RuntimeError, match=message):
        predict(head, inputs_of())
    with pytest.raises(RuntimeError, match=message):
        copy.deepcopy(head)(inputs_of())


@pytest.mark.parametrize(
    'options', [dict(), dict(post_compensation=dict()), dict(alpha=0.3, loss_decode=ADJUSTED)]
)
def test_options_on_logits_do_not_mind_who_gave_them(options):
    head = long_tail('HeadWithAnotherClassifier', **SIX['FCNHead'], **options)
    assert {'final.weight', 'final.bias'} <= step(head, batch())[1]
    assert predict(head, inputs_of()).isfinite().all()


def test_other_errors_of_a_base_stay_what_they_are():
    head = long_tail('HeadThatFails', **SIX['FCNHead'], classifier='cosine')
    with pytest.raises(RuntimeError, match='^out of something$'):
        head(inputs_of())


@pytest.mark.parametrize(
    'convolution',
    [
        dict(kernel_size=3, padding=1),
        dict(kernel_size=1, groups=2),
        dict(kernel_size=1, stride=2),
        dict(kernel_size=1, padding=1),
    ],
)
def test_classifiers_of_pixels_are_no_substitute_for_another_convolution(convolution):
    cfg = config('HeadOfAConvolution', **SIX['FCNHead'], convolution=convolution)
    message = r'of LongTailHeadOfAConvolution is .*conv_seg of the base is Conv2d\(8, 4,.*choose'
    for classifier in ('cosine', 'tau_normalized', dict(type='lt_mm.CosineConv2d')):
        with pytest.raises(ValueError, match=message):
            MODELS.build(cfg | dict(classifier=classifier))
    assert repr(MODELS.build(cfg).conv_seg).startswith('Conv2d')


@pytest.mark.parametrize('convolution', [dict(kernel_size=1, groups=2), dict(kernel_size=1)])
def test_features_are_as_wide_as_the_classifier_with_groups_takes_them(convolution):
    options = dict(alignment=dict(type='lt_mm.DisAlign'), contrast=GML, convolution=convolution)
    head = long_tail('HeadOfAConvolution', **SIX['FCNHead'], **options)
    losses, moved = step(head, batch())
    assert losses['loss_gml'].isfinite() and 'alignment.confidence.weight' in moved


@pytest.mark.parametrize(
    'contrast', [dict(type='lt_mm.BCLLoss'), dict(type='lt_mm.PaCoLoss', size=16)]
)
@pytest.mark.parametrize(
    'convolution', [dict(kernel_size=3, padding=1), dict(kernel_size=1, groups=2)]
)
def test_a_contrast_with_weights_that_are_not_of_pixels(convolution, contrast):
    options = dict(contrast=dict(contrast, widths=(6,)), convolution=convolution)
    head = long_tail('HeadOfAConvolution', **SIX['FCNHead'], **options)
    with pytest.raises(ValueError, match=r'which is Conv2d\(8, 4,.*choose a base .* lt_mm.GMLLoss'):
        head.loss(*batch(), {})


@pytest.mark.parametrize(
    'options', [dict(), dict(classifier='cosine'), dict(classifier='tau_normalized')]
)
def test_a_checkpoint_of_the_plain_head_brings_the_classifier(tmp_path, options):
    from_plain = plain('FCNHead')
    nn.init.normal_(from_plain.conv_seg.weight)
    torch.save(dict(state_dict=from_plain.state_dict()), tmp_path / 'plain.pth')
    head = long_tail('FCNHead', **options)
    load_checkpoint(head, str(tmp_path / 'plain.pth'))
    assert torch.equal(head.conv_seg.weight.flatten(1), from_plain.conv_seg.weight.flatten(1))


@pytest.mark.parametrize('contrast', [GML, dict(type='lt_mm.SupConLoss', widths=(6,))])
def test_a_forward_without_a_graph_is_no_training(contrast):
    """As checkpointing that runs the forward again makes it."""
    head = long_tail('FCNHead', contrast=contrast, dropout_ratio=0)
    inputs, samples = batch()
    expected = step(other := copy.deepcopy(head), (inputs, samples))[1]
    model = nn.ModuleDict(dict(decode_head=head))
    turn_on_activation_checkpointing(model, 'decode_head')
    grown = [one.clone().requires_grad_() for one in inputs]
    with pytest.raises(RuntimeError, match='cls_seg without gradients.*use_reentrant=False'):
        head.loss(grown, samples, {})
    forward = other.forward
    other.forward = lambda maps: checkpoint(forward, maps, use_reentrant=False)
    other.zero_grad()
    assert step(other, (inputs, samples))[1] == expected
    with torch.no_grad():
        other.loss(inputs, samples, {})


def test_a_head_that_classifies_more_than_once_has_no_features_to_compare():
    options, data = dict(SIX['FCNHead'], base='HeadThatClassifiesTwice'), batch()
    losses, moved = step(long_tail(**options, classifier='cosine'), data)
    assert losses['loss_ce'].isfinite() and 'conv_seg.weight' in moved
    with pytest.raises(RuntimeError, match='called cls_seg 2 times for one batch, so it is unkn'):
        long_tail(**options, contrast=GML).loss(*data, train_cfg={})


def test_the_loss_alone_in_a_head_of_several_stages():
    """What is recommended for K-Net works."""
    kernel = dict(
        type='KernelUpdateHead', num_classes=4, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1,
        feedforward_channels=8, in_channels=8, out_channels=8, conv_kernel_size=1,
        ffn_act_cfg=dict(type='ReLU', inplace=True), with_ffn=True,
        feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
        kernel_updator_cfg=dict(
            type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8,
            act_cfg=dict(type='ReLU', inplace=True), norm_cfg=dict(type='LN'),
        ),
    )  # fmt: skip
    first = config(type='FCNHead', loss_decode=ADJUSTED)
    first.pop('base')
    head = MODELS.build(
        dict(
            type='IterativeDecodeHead', num_stages=1, kernel_update_head=[kernel],
            kernel_generate_head=first,
        )
    )  # fmt: skip
    set_class_counts(head, ClassCounts([50, 30, 15, 5]))
    losses, _ = step(head.train(), batch())
    assert losses_in(losses).keys() == {'loss_cls.s0', 'loss_cls.s1'}
