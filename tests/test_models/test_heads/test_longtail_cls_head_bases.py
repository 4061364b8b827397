"""LongTailClsHead on every head of mmpretrain and on a user's own: all options, or a refusal."""

import copy
from itertools import product

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope
from mmpretrain.models.heads import ClsHead, LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn import functional as F

from lt_mm.models.heads import LongTailClsHead, LongTailOptions
from lt_mm.structures import ClassCounts

LABELS = [0, 1, 2, 1]
# Units that never die.
NORM = dict(norm_cfg=dict(type='BN1d'), act_cfg=dict(type='GELU'))


@MODELS.register_module()
class OwnHead(ClsHead):
    """As a user writes one: a hidden layer that pre_logits knows nothing of, and dropout."""

    def __init__(self, num_classes, in_channels, width=6, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.hidden = nn.Linear(in_channels, width)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(width, num_classes)

    def forward(self, feats):
        return self.out(self.drop(self.hidden(feats[-1]).tanh()))


@ROOT_MODELS.register_module()
class OwnRootHead(OwnHead):
    """Registered in mmengine's registry, as one may in a script."""


@MODELS.register_module()
class OwnScaledHead(OwnHead):
    """A loss of its own, which the options would lose."""

    def loss(self, feats, data_samples, **kwargs):
        return {name: 2 * value for name, value in super().loss(feats, data_samples).items()}


@MODELS.register_module()
class OwnTwiceHead(OwnHead):
    """It classifies two things."""

    def forward(self, feats):
        hidden = self.hidden(feats[-1])
        return self.out(hidden) + self.out(hidden.relu())


@MODELS.register_module()
class OwnWeightHead(LinearClsHead):
    """It takes but weight and bias of its classifier."""

    def forward(self, feats):
        return F.linear(self.pre_logits(feats), self.fc.weight, self.fc.bias)


# Head, its further arguments, where its classifier is, and the width of what that is given.
BASES = {
    'linear': ('LinearClsHead', {}, 'fc', 5),
    'linear by its class': (LinearClsHead, {}, 'fc', 5),
    'linear by its scope': ('mmpretrain.LinearClsHead', {}, 'fc', 5),
    'stacked': ('StackedLinearClsHead', dict(mid_channels=[6], **NORM), 'layers.1.fc', 6),
    'stacked, as wide as there are classes': (
        'StackedLinearClsHead', dict(mid_channels=[3, 3], **NORM), 'layers.2.fc', 3,
    ),
    'stacked, now as wide and now not': (
        'StackedLinearClsHead', dict(mid_channels=[3, 7, 3], **NORM), 'layers.3.fc', 3,
    ),
    'ViT': ('VisionTransformerClsHead', {}, 'layers.head', 5),
    'ViT, hidden': ('VisionTransformerClsHead', dict(hidden_dim=6), 'layers.head', 6),
    'ViT, hidden, as wide': ('VisionTransformerClsHead', dict(hidden_dim=3), 'layers.head', 3),
    'EfficientFormer': ('EfficientFormerClsHead', {}, 'head', 5),
    'EfficientFormer, as its configs': (
        'EfficientFormerClsHead', dict(distillation=False), 'head', 5,
    ),
    'LeViT': ('LeViTClsHead', {}, 'head.linear', 5),
    'ViG': ('VigClsHead', dict(hidden_dim=6), 'fc2', 6),
    'own': ('OwnHead', {}, 'out', 6),
    'own by its class': (OwnHead, {}, 'out', 6),
    'own of mmengine': ('OwnRootHead', {}, 'out', 6),
}  # fmt: skip
# One of each, where nothing but the name differs.
KINDS = [
    'linear', 'stacked, as wide as there are classes', 'ViT, hidden', 'EfficientFormer', 'LeViT',
    'ViG', 'own',
]  # fmt: skip
CLASSIFIERS = ['linear', 'cosine', 'tau_normalized', 'class_means']
ALIGNMENTS = {
    None: None,
    'LWS': dict(type='lt_mm.LearnableWeightScaling'),
    'DisAlign': dict(type='lt_mm.DisAlign'),
}
CONTRASTS = {
    None: None,
    'gml': dict(type='lt_mm.GMLLoss', size=30, min_size=5, widths=(5,)),
    'bcl': dict(type='lt_mm.BCLLoss', widths=(5,)),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(base, init=True, **changes):
    kind, given, *_ = BASES[base]
    cfg = dict(type='lt_mm.LongTailClsHead', base=kind, num_classes=3, in_channels=5, **given)
    head = MODELS.build(copy.deepcopy(cfg | changes))
    if init:
        head.init_weights()
    for part in head.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([70, 20, 10]))
    return head.train()


def plain(base):
    kind, given, *_ = BASES[base]
    if kind in ('EfficientFormerClsHead', 'LeViTClsHead'):
        given = dict(distillation=False)
    head = MODELS.build(dict(type=kind, num_classes=3, in_channels=5, **given))
    for part in head.modules():
        if isinstance(part, nn.Linear | nn.BatchNorm1d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean)
    return head.eval()


def samples():
    return [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(c) for i, c in enumerate(LABELS)]


@pytest.mark.parametrize('base', BASES)
def test_without_options_it_is_the_plain_head(base):
    head, other, features = build(base), plain(base), torch.randn(4, 5)
    assert isinstance(head, LongTailClsHead)
    assert isinstance(other, head.base_class) and isinstance(head, head.base_class)
    assert head.classifier_path == BASES[base][2]
    assert head.get_submodule(head.classifier_path).weight.shape == (3, BASES[base][3])
    missing, unexpected = head.load_state_dict(other.state_dict(), strict=False)
    assert not unexpected and all(name.startswith('loss_module.') for name in missing)
    head.eval()
    # Predictions are equal to the last bit, and so are losses but for their key.
    assert torch.equal(head((features,)), other((features,)))
    predicted, expected = head.predict((features,)), other.predict((features,))
    for mine, theirs in zip(predicted, expected, strict=True):
        assert torch.equal(mine.pred_score, theirs.pred_score)
    losses = (one.loss((features,), samples()) for one in (head, other))
    torch.testing.assert_close([*next(losses).values()], [*next(losses).values()])


@pytest.mark.parametrize('base', BASES)
def test_initial_weights_are_those_of_the_plain_head(base):
    kind, given, *_ = BASES[base]
    if kind in ('EfficientFormerClsHead', 'LeViTClsHead'):
        given = dict(distillation=False)
    torch.manual_seed(3)
    other = MODELS.build(dict(type=kind, num_classes=3, in_channels=5, **given))
    other.init_weights()
    torch.manual_seed(3)
    head = build(base)
    for name, value in other.state_dict().items():
        assert torch.equal(head.state_dict()[name], value), name


@pytest.mark.parametrize('classifier', CLASSIFIERS)
@pytest.mark.parametrize('base', KINDS)
def test_every_set_of_options_trains_and_predicts(base, classifier):
    width, features = BASES[base][3], torch.randn(4, 5)
    for alignment, contrast, compensated in product(ALIGNMENTS, CONTRASTS, (False, True)):
        if classifier == 'class_means' and (alignment or compensated):
            continue
        distils = compensated and base != 'LeViT'
        head = build(
            base,
            init=False,
            classifier=classifier,
            alignment=ALIGNMENTS[alignment],
            contrast=CONTRASTS[contrast],
            post_compensation=dict() if compensated else None,
            distillation=dict(type='lt_mm.KDLoss') if distils else None,
        )
        optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
        for _ in range(2):
            losses = head.loss((features,), samples(), teacher_logits=torch.randn(4, 3))
            optimizer.zero_grad()
            sum(value for name, value in losses.items() if 'loss' in name).backward()
            optimizer.step()
        wanted = {'loss_cls'} | ({'loss_kd'} if distils else set())
        assert {name for name in losses if 'loss' in name} == wanted | (
            {f'loss_{contrast}'} if contrast else set()
        )
        # What DDP without find_unused_parameters asks for.
        for name, value in head.named_parameters():
            assert value.grad is not None and value.isfinite().all(), name
            # A bias that normalisation follows does nothing.
            assert value.grad.any() or name.endswith(('layers.0.fc.bias', 'layers.1.fc.bias')), name
        if classifier == 'class_means':
            layer = head.get_submodule(head.classifier_path)
            layer.set_class_means(
                torch.randn(3, width), torch.tensor([2, 1, 1]), torch.zeros(width)
            )
        scores = torch.stack([one.pred_score for one in head.eval().predict((features,))])
        torch.testing.assert_close(scores.sum(1), torch.ones(4))


@pytest.mark.parametrize('base', KINDS)
def test_what_the_classifier_is_given_reaches_alignment_and_contrast(base):
    head = build(base, alignment=ALIGNMENTS['DisAlign'], contrast=CONTRASTS['bcl'])
    given, contrasted, aligned = [], [], []
    head.get_submodule(head.classifier_path).register_forward_pre_hook(
        lambda layer, inputs: given.append(inputs[0])
    )
    head.alignment.register_forward_pre_hook(lambda layer, inputs: aligned.append(inputs[1]))
    contrast = head.contrast.contrast
    head.contrast.contrast = lambda batch: contrasted.append(batch) or contrast(batch)
    head.loss((torch.randn(4, 5),), samples())
    assert len(given) == 1
    assert torch.equal(aligned[0], given[0])
    assert torch.equal(contrasted[0].queries, given[0][None])
    assert torch.equal(contrasted[0].keys, given[0])
    other = torch.randn(2, 5)
    head.eval()
    assert torch.equal(head.classifier_input((other,)), given.pop())


@pytest.mark.parametrize(
    'base', ['stacked', 'stacked, as wide as there are classes', 'LeViT', 'ViG']
)
def test_statistics_of_hidden_layers_move_once_a_step(base):
    head = build(base, alignment=ALIGNMENTS['DisAlign'], contrast=CONTRASTS['gml'])
    norms = [part for part in head.modules() if isinstance(part, nn.BatchNorm1d)]
    assert norms
    for steps in (1, 2):
        head.loss((torch.randn(4, 5),), samples())
        assert {int(norm.num_batches_tracked) for norm in norms} == {steps}


def test_cosine_classifiers_start_as_unit_vectors_on_any_base():
    for base in KINDS:
        layer = build(base, classifier='cosine').get_submodule(BASES[base][2])
        torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(3))


def test_the_second_classifier_of_a_checkpoint_is_passed_over():
    distilled = MODELS.build(dict(type='EfficientFormerClsHead', num_classes=3, in_channels=5))
    head = build('EfficientFormer')
    _, unexpected = head.load_state_dict(distilled.state_dict(), strict=False)
    assert unexpected == ['dist_head.weight', 'dist_head.bias']
    assert torch.equal(head.head.weight, distilled.head.weight)


def test_a_second_classifier_is_no_distillation():
    for base in ('EfficientFormer', 'LeViT', 'linear'):
        with pytest.raises(ValueError, match=r"distillation of \w+ is True.*dict\(type='lt_mm.KD"):
            build(base, distillation=True)
    with pytest.raises(ValueError, match="distillation of LongTailLeViTClsHead .*base='LinearCls"):
        build('LeViT', distillation=dict(type='lt_mm.KDLoss'))


OPTIONS = 'has these options already; name the plain head'
REFUSED = [
    ('DeiTClsHead', "has a second classifier.*use base='VisionTransformerClsHead', and distillat"),
    ('ConformerHead', 'has a _get_loss of its own.*choose a head such as LinearClsHead'),
    (
        'ArcFaceClsHead',
        "has a loss of its own.*with classifier='cosine' for cosines, and a loss of",
    ),
    ('OwnScaledHead', 'OwnScaledHead, which has a loss of its own, which would not be used'),
    ('LinearRegressionHead', 'has a _get_predictions of its own'),
    ('MultiLabelLinearClsHead', 'is no ClsHead of mmpretrain and has no softmax over classes of'),
    ('CSRAClsHead', 'is no ClsHead of mmpretrain'),
    ('MultiTaskHead', 'is no ClsHead of mmpretrain'),
    (nn.Linear, 'base of LongTailClsHead is Linear, which is no ClsHead'),
    (BaseModule, 'base of LongTailClsHead is BaseModule, which is no ClsHead'),
    ('LinearHead', "is 'LinearHead', which is no known head; perhaps 'LinearClsHead'"),
    ('xyz', "is no known head; name one such as 'LinearClsHead'"),
    (dict(type='LinearClsHead'), 'which is no known head'),
    ('lt_mm.GMLClsHead', OPTIONS),
    ('lt_mm.ResLTClsHead', OPTIONS),
    (LongTailClsHead, OPTIONS),
]


@pytest.mark.parametrize(('base', 'message'), REFUSED)
def test_heads_that_cannot_have_the_options_say_so_when_built(base, message):
    cfg = dict(type='lt_mm.LongTailClsHead', base=base, num_classes=3, in_channels=5)
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


def test_a_head_without_a_classifier():
    with pytest.raises(ValueError, match='needs one linear layer .* its base has none; choose a h'):
        MODELS.build(dict(type='lt_mm.LongTailClsHead', base='ClsHead'))


def test_every_head_of_mmpretrain_was_looked_at():
    known = {kind for kind, *_ in BASES.values() if isinstance(kind, str)}
    known |= {'DeiTClsHead', 'ConformerHead', 'ArcFaceClsHead', 'ClsHead'}
    known |= {'LinearRegressionHead', 'RegressionHead'}
    heads = {
        name
        for name, head in MODELS.module_dict.items()
        if isinstance(head, type)
        and issubclass(head, ClsHead)
        and not issubclass(head, LongTailOptions)
        and not name.startswith('Own')
    }
    assert heads and heads <= known


def test_two_classifiers_side_by_side_are_named():
    class SideBySide(OwnHead):
        def __init__(self, num_classes, in_channels, **kwargs):
            super().__init__(num_classes, in_channels, **kwargs)
            self.other = nn.Linear(6, num_classes)

    with pytest.raises(ValueError, match='one linear layer .* its base has out and other; choose'):
        LongTailClsHead(3, 5, base=SideBySide)


def test_a_classifier_that_is_used_twice_is_named_at_the_first_batch():
    head = LongTailClsHead(3, 5, base=OwnTwiceHead)
    with pytest.raises(RuntimeError, match='uses its classifier out 2 times for one batch'):
        head((torch.randn(4, 5),))
    # What was seen is forgotten, also after another error.
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        head((torch.randn(4, 7),))
    assert head._seen is None


@pytest.mark.parametrize('classifier', ['linear', 'cosine', 'tau_normalized', 'class_means'])
def test_a_classifier_that_is_not_called_is_named_at_the_first_batch(classifier):
    sizes = dict(num_classes=3, in_channels=5)
    head = LongTailClsHead(base='OwnWeightHead', classifier=classifier, **sizes)
    with pytest.raises(RuntimeError, match='uses its classifier fc 0 times'):
        head((torch.randn(4, 5),))


def test_a_base_that_was_chosen_cannot_be_chosen_again():
    reslt = dict(type='lt_mm.ResLTClsHead', num_classes=6, in_channels=5)
    with pytest.raises(TypeError, match="base of ResLTClsHead is 'VisionTransformerClsHead', but"):
        MODELS.build(dict(reslt, base='VisionTransformerClsHead'))


def test_arguments_by_place_and_unknown_ones():
    assert LongTailClsHead(3, 5).fc.weight.shape == (3, 5)
    assert LongTailClsHead(3, 5, 6, base='VisionTransformerClsHead').hidden_dim == 6
    with pytest.raises(TypeError, match='num_groups'):
        LongTailClsHead(3, 5, num_groups=2)


@pytest.mark.parametrize('scope', ['mmseg', 'mmengine', None])
def test_names_under_another_scope(scope):
    if scope is not None:
        init_default_scope(scope)
    assert isinstance(LongTailClsHead(3, 5), LinearClsHead)
    for base in ('mmpretrain.LinearClsHead', 'LinearClsHead', 'mmpretrain.OwnHead', 'OwnHead'):
        assert isinstance(LongTailClsHead(3, 5, base=base), LongTailClsHead)
