"""How often a training step makes the host wait for a GPU: forward pass, losses, backward pass.

What mmsegmentation itself waits for, twice in the accuracy of each head, is counted apart.
"""

import copy
from importlib.util import find_spec

import pytest
import torch
from host_syncs import HostSyncs
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmengine.structures import PixelData
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.functional.mixture import log_likelihood
from lt_mm.models.losses import GMLLoss, LogitAdjustedLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS as LT_MODELS
from lt_mm.structures import ClassCounts

COUNTS = ClassCounts([70, 20, 10])
# One look at labels, features and numbers of pixels; one at the queue.
MOST = 2
OF_MMSEG = 2
# Ids of images, the permutation that keys are drawn by, lengths of the queues.
COPIES = 3

BACKBONE = dict(
    type='ResNetV1c',
    depth=18,
    num_stages=2,
    out_indices=(0, 1),
    stem_channels=4,
    base_channels=4,
    strides=(1, 1),
    dilations=(1, 1),
    norm_cfg=dict(type='BN'),
)
HEAD = dict(
    type='FCNHead',
    in_channels=8,
    in_index=1,
    channels=6,
    num_convs=1,
    concat_input=False,
    num_classes=3,
    norm_cfg=dict(type='BN'),
)
PLAIN = dict(type='EncoderDecoder', backbone=BACKBONE, decode_head=HEAD)
SMALL = dict(PLAIN, backbone=dict(BACKBONE, strides=(1, 2)))
CONTRAST = dict(size=200, min_size=2, widths=(5,))


def with_counts(model):
    for module in model.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(COUNTS)
    return model.train()


def segmentor(decode_head, teacher=None, folder=None, **changes):
    init_default_scope('mmseg')
    if teacher is not None:
        weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
        save_checkpoint(dict(state_dict=weights), f'{folder}/teacher.pth')
        changes['teacher'] = dict(config=teacher, checkpoint=f'{folder}/teacher.pth')
    model = MODELS.build(copy.deepcopy(dict(PLAIN, decode_head=decode_head, **changes)))
    # A teacher is loaded at its first use.
    getattr(model, 'teacher', None)
    return with_counts(model)


def gml(**contrast):
    return dict(HEAD, type='lt_mm.GMLFCNHead', contrast=dict(CONTRAST, **contrast))


def scenes(classes=(0, 1, 2), number=0):
    """Two images with labels of some classes, and of pixels to ignore."""
    samples = []
    for index in range(2):
        labels = torch.tensor([*classes, 255])[torch.randint(len(classes) + 1, (1, 32, 32))]
        samples.append(
            SegDataSample(
                gt_sem_seg=PixelData(data=labels), metainfo=dict(img_path=f'{number}_{index}')
            )
        )
    return torch.randn(2, 3, 32, 32), samples


def train(model, batch):
    losses = model.loss(*batch)
    sum(value for name, value in losses.items() if 'loss' in name).backward()


def counted(model, batch):
    with HostSyncs() as found:
        train(model, batch)
    return found


STUDENT = dict(type='lt_mm.LongTailEncoderDecoder')
CASES = {
    'gml head in an EncoderDecoder': dict(decode_head=gml()),
    'without teacher': dict(decode_head=gml(), **STUDENT),
    'teacher': dict(decode_head=gml(), teacher=PLAIN, **STUDENT),
    'teacher of another size': dict(decode_head=gml(), teacher=SMALL, **STUDENT),
    'learnt temperature': dict(
        decode_head=gml(trainable_temperature=True), teacher=PLAIN, **STUDENT
    ),
    'large exponents': dict(decode_head=gml(mixture_temperature=0.01), **STUDENT),
    'two losses': dict(
        decode_head=dict(
            gml(),
            loss_decode=[
                dict(type='lt_mm.LogitAdjustedLoss'),
                dict(type='lt_mm.FocalLoss', loss_name='loss_focal'),
            ],
        ),
        **STUDENT,
    ),
    'constants of counts': dict(
        decode_head=dict(
            gml(),
            loss_decode=dict(type='lt_mm.LDAMLoss', class_weight=dict(type='effective_number')),
        ),
        **STUDENT,
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_a_gml_step_of_a_segmentor(case, tmp_path):
    torch.manual_seed(0)
    model = segmentor(folder=tmp_path, **CASES[case])
    queue = model.decode_head.contrast.queue
    # The first step computes what depends on counts alone; then queues are filled.
    train(model, scenes(classes=(0,)))
    found = {}
    for name, classes in (('absent', (0, 1)), ('all ignored', ()), ('first', (0, 1, 2))):
        found[name] = counted(model, scenes(classes, number=1))
    assert 0 < queue.filled.sum() < queue.size
    queue.enqueue(torch.randn(600, 6), torch.arange(600) % 3, torch.arange(600))
    assert torch.equal(queue.filled, queue.lengths)
    found['full'] = counted(model, scenes(number=8))
    found['full, absent'] = counted(model, scenes(classes=(1,), number=9))
    learnt = model.decode_head.contrast.log_temperature is not None
    for step in found.values():
        assert len(step.own) <= MOST, step.report()
        assert len(step.waits) <= MOST + OF_MMSEG, step.report()
        assert len(step.copies) <= COPIES + learnt
    assert len(found['full'].own) == MOST


def test_an_auxiliary_head_is_looked_at_no_more(tmp_path):
    auxiliary = dict(HEAD, loss_decode=dict(type='lt_mm.LogitAdjustedLoss'))
    model = segmentor(gml(), auxiliary_head=auxiliary, **STUDENT)
    found = counted(model, scenes())
    assert len(found.own) == MOST and len(found.waits) == MOST + 2 * OF_MMSEG, found.report()


def test_cross_entropy_waits_for_nothing_and_a_logit_adjusted_loss_for_one_look():
    plain = counted(segmentor(HEAD), scenes())
    assert len(plain.waits) == OF_MMSEG and not plain.own, plain.report()
    adjusted = dict(HEAD, loss_decode=dict(type='lt_mm.LogitAdjustedLoss'))
    assert len(counted(segmentor(adjusted), scenes()).own) == 1


@pytest.mark.parametrize('shape', [(8,), (2, 4, 4)])
def test_a_logit_adjusted_loss_alone(shape):
    loss = LogitAdjustedLoss()
    loss.set_class_counts(COUNTS)
    logits = torch.randn(shape[0], 3, *shape[1:], requires_grad=True)
    labels = torch.randint(3, shape)
    with HostSyncs() as found:
        loss(logits, labels).backward()
        loss(logits, labels, avg_factor=5.0).backward()
    assert len(found.waits) == 2 and not found.copies, found.report()


LOSSES = {
    'FocalLoss': {},
    'LDAMLoss': {},
    'LabelAwareSmoothingLoss': {},
    'SeesawLoss': {},
    'WeightedCrossEntropyLoss': dict(class_weight=dict(type='inverse')),
}


@pytest.mark.parametrize('name', LOSSES)
def test_constants_of_counts_are_computed_once(name):
    loss = with_counts(LT_MODELS.build(dict(type=name, **LOSSES[name])))
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.randint(3, (2, 4, 4))
    loss(logits, labels)
    with HostSyncs() as found:
        loss(logits, labels).backward()
    assert len(found.waits) == 1, found.report()


@pytest.mark.parametrize('views', [1, 3])
@pytest.mark.parametrize('trainable', [False, True])
def test_a_gml_step_of_a_classifier(views, trainable):
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    contrast = dict(CONTRAST, trainable_temperature=trainable)
    model = with_counts(
        MMPRETRAIN_MODELS.build(
            dict(
                type='lt_mm.LongTailClassifier',
                backbone=dict(type='LeNet5'),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='lt_mm.GMLClsHead', num_classes=3, in_channels=120, contrast=contrast
                ),
            )
        )
    )

    def batch(number):
        labels = torch.randint(3, (8,))
        samples = [
            DataSample(metainfo=dict(sample_idx=number * 8 + i), gt_label=label[None])
            for i, label in enumerate(labels)
        ]
        inputs = [torch.randn(8, 1, 32, 32) for _ in range(views)]
        return inputs if views > 1 else inputs[0], samples

    filling = counted(model, batch(0))
    queue = model.head.contrast.queue
    queue.enqueue(torch.randn(600, 120), torch.arange(600) % 3, torch.arange(600))
    assert torch.equal(queue.filled, queue.lengths)
    for found in (filling, counted(model, batch(12))):
        assert len(found.waits) == MOST, found.report()
        assert len(found.copies) <= COPIES + trainable


@pytest.mark.skipif(find_spec('triton') is None, reason='Triton is not installed')
@pytest.mark.parametrize('trainable', [False, True])
def test_the_host_of_the_cuda_kernels_waits_no_more(trainable, monkeypatch):
    """All of it but the kernels, which need a GPU."""
    from lt_mm.functional.mixture import triton_backend

    monkeypatch.setattr(triton_backend, '_launch', lambda *args: None)
    monkeypatch.setattr(log_likelihood, '_backend', lambda *args: triton_backend)
    loss, batch = gml_loss(trainable), contrast_batch()
    rows, valid = torch.ones(3, 2), torch.tensor([True, False, True])
    with HostSyncs() as found:
        losses = loss.contrast(batch)
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        # With keys that may not be used, too.
        log_likelihood.class_log_likelihood(
            rows, rows, torch.tensor([1, 2]), 0.1, valid=valid, largest=20.0
        )
    # The labels, as no head has looked at them, and the queue.
    assert len(found.waits) == 2, found.report()


def gml_loss(trainable=False):
    torch.manual_seed(0)
    return with_counts(GMLLoss(3, 6, **CONTRAST, trainable_temperature=trainable))


def contrast_batch(rows=20):
    labels = torch.arange(rows) % 3
    return ContrastBatch(
        queries=torch.randn(1, rows, 6, requires_grad=True),
        keys=torch.randn(rows, 6),
        labels=labels,
        ids=torch.arange(rows) // 2,
        indices=torch.arange(rows),
        classifier=torch.nn.Identity(),
    )


def waits_on(rank):
    loss, steps = gml_loss(), []
    for rows in ((20, 7), (0, 9), (0, 0), (30, 30)):
        batch = contrast_batch(rows[rank])
        with HostSyncs() as found:
            loss.contrast(batch)['loss_gml'].backward()
        steps.append((len(found.own), found.report()))
    return steps


def test_two_ranks_wait_for_each_other_once_more(two_ranks):
    # The labels are looked at, as no head has done it; the numbers of keys; the queue.
    for steps in two_ranks(waits_on):
        for number, report in steps:
            assert number == 3, report
