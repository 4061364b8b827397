"""What losses take from the head they are in, and what they keep from one run to the next."""

import warnings

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmseg.registry import MODELS as MMSEG_MODELS

from lt_mm.models.losses import SeesawLoss

DECODE = dict(in_channels=4, channels=4, num_convs=0, concat_input=False, num_classes=3)
PIXELS = {
    'CosineFCNHead': dict(type='lt_mm.CosineFCNHead', **DECODE),
    'cosine': dict(type='lt_mm.LongTailHead', base='FCNHead', classifier='cosine', **DECODE),
    'config': dict(
        type='lt_mm.LongTailHead',
        base='FCNHead',
        classifier=dict(type='lt_mm.CosineConv2d', temperature=0.1),
        **DECODE,
    ),
    'linear': dict(type='lt_mm.LongTailHead', base='FCNHead', **DECODE),
}


def ldam(**options):
    return dict(type='lt_mm.LDAMLoss', **options)


@pytest.mark.parametrize(
    ('name', 'scale'), [('CosineFCNHead', 20), ('cosine', 20), ('config', 10), ('linear', 30)]
)
def test_margins_have_the_scale_of_the_classifier(name, scale):
    head = MMSEG_MODELS.build(ConfigDict(PIXELS[name], loss_decode=ldam()))
    assert head.loss_decode.scale == pytest.approx(scale)
    listed = MMSEG_MODELS.build(ConfigDict(PIXELS[name], loss_decode=[ldam(), ldam()]))
    assert [loss.scale for loss in listed.loss_decode] == pytest.approx([scale, scale])


def test_another_scale_is_warned_of_and_kept():
    with pytest.warns(UserWarning, match='margins are 1.5 times what max_margin says'):
        head = MMSEG_MODELS.build(ConfigDict(PIXELS['cosine'], loss_decode=ldam(scale=30)))
    assert head.loss_decode.scale == 30
    for options in (dict(scale=20), dict(scale=30, scaled_logits=False), {}):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            MMSEG_MODELS.build(ConfigDict(PIXELS['cosine'], loss_decode=ldam(**options)))


def test_images():
    config = dict(type='lt_mm.CosineClsHead', num_classes=3, in_channels=4, loss=ldam())
    assert MMPRETRAIN_MODELS.build(config).loss_module.scale == 30.0
    config = dict(config, classifier_temperature=0.5)
    assert MMPRETRAIN_MODELS.build(config).loss_module.scale == 2.0
    bare = dict(config, classifier_temperature=1.0, loss=ldam(scaled_logits=False))
    assert MMPRETRAIN_MODELS.build(bare).loss_module.scale == 30.0


@pytest.mark.parametrize(('iteration', 'kept'), [(0, False), (7, True), (None, True)])
def test_seesaw_counts_afresh_unless_it_is_resumed(iteration, kept):
    """`load_from` begins at iteration 0, resuming behind it; None is no run of mmengine."""
    before = SeesawLoss(num_classes=3)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 0, 0, 1, 2])
    before(logits, labels)
    loss = SeesawLoss(num_classes=3)
    loss.load_state_dict(before.state_dict())
    hub = MessageHub.get_current_instance()
    was = dict(hub.runtime_info)
    try:
        hub.runtime_info.pop('iter', None)
        if iteration is not None:
            hub.update_info('iter', iteration)
        loss.eval()(logits, labels)
        assert loss.seen.tolist() == [3, 1, 1]
        loss.train()(logits, labels)
        # Once, not at every call before the first step is over.
        loss(logits, labels)
    finally:
        hub.runtime_info.clear()
        hub.runtime_info.update(was)
    assert loss.seen.tolist() == ([9, 3, 3] if kept else [6, 2, 2])
