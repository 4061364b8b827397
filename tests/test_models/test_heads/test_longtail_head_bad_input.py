"""Whole training steps on what real training sets hold: an error that says what, or no harm."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import load_state_dict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.counts import set_class_counts
from lt_mm.models.losses import GMLLoss
from lt_mm.structures import ClassCounts

PLAIN = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=1,
        out_indices=(0,),
        strides=(1,),
        dilations=(1,),
        stem_channels=4,
        base_channels=4,
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=4,
        in_index=0,
        channels=6,
        num_convs=1,
        concat_input=False,
        num_classes=3,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
    ),
)
GML = dict(size=30, min_size=4, widths=(5,))
SIZE = 32


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def config(teacher, tmp_path, **head):
    cfg = copy.deepcopy(PLAIN)
    cfg['decode_head'].update({'type': 'lt_mm.GMLFCNHead', 'contrast': dict(GML), **head})
    if teacher:
        torch.save(MODELS.build(copy.deepcopy(PLAIN)).state_dict(), tmp_path / 'teacher.pth')
        cfg['type'] = 'lt_mm.LongTailEncoderDecoder'
        cfg['teacher'] = dict(config=PLAIN, checkpoint=str(tmp_path / 'teacher.pth'))
    return cfg


@pytest.fixture(params=[False, True], ids=['own keys', 'teacher'])
def model(request, tmp_path):
    model = MODELS.build(config(request.param, tmp_path))
    set_class_counts(model, ClassCounts([70, 20, 10]))
    return model.train()


def batch(labels=None, size=SIZE):
    """Two random images; labels are random unless given."""
    labels = torch.randint(3, (2, 1, size, size)) if labels is None else labels
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=part), metainfo=dict(img_path=f'{index}.png'))
        for index, part in enumerate(labels)
    ]
    return torch.randn(2, 3, size, size), samples


def queue_of(model):
    return model.decode_head.contrast.queue


def step(model, *data):
    """Losses of a step and the gradients it leaves, none of which may be NaN or infinite."""
    model.zero_grad()
    losses = model.loss(*data)
    assert {'decode.loss_gml', 'decode.loss_cls'} <= losses.keys()
    for name, value in losses.items():
        assert value.isfinite().all(), name
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), name
    return losses


def test_a_crop_without_a_label_gives_nothing_and_harms_nothing(model):
    labels = torch.randint(3, (2, 1, SIZE, SIZE))
    labels[0] = 255
    losses = step(model, *batch(labels))
    assert losses['decode.loss_gml'] > 0 and losses['decode.loss_cls'] > 0
    assert 0 < int(queue_of(model).filled.sum()) <= 3 * model.decode_head.keys_per_class
    assert set(queue_of(model).keys().ids.tolist()) == set(queue_of(model).ids.tolist()) - {-1}
    assert len(set(queue_of(model).keys().ids.tolist())) == 1


@pytest.mark.parametrize('steps_before', [0, 1])
def test_a_batch_without_a_label_is_zero_loss(model, steps_before):
    for _ in range(steps_before):
        step(model, *batch())
    before = copy.deepcopy(queue_of(model).state_dict())
    losses = step(model, *batch(torch.full((2, 1, SIZE, SIZE), 255)))
    assert losses['decode.loss_gml'] == 0 and losses['decode.loss_cls'] == 0
    assert all(not value.grad.any() for value in model.parameters())
    assert all(torch.equal(v, before[name]) for name, v in queue_of(model).state_dict().items())


@pytest.mark.parametrize('label', [3, 254, 1000, -1, -100])
@pytest.mark.parametrize('at', [0, 1], ids=['on the grid of features', 'off it'])
def test_a_label_that_is_no_class(model, label, at):
    labels = torch.randint(3, (2, 1, SIZE, SIZE))
    labels[1, 0, at, at] = label
    message = rf'label {label} reached LongTailFCNHead, which has 3 classes and ignores 255; correc'
    with pytest.raises(ValueError, match=message):
        model.loss(*batch(labels))
    assert not queue_of(model).filled.any()


def test_one_pixel(model):
    labels = torch.tensor([0, 2]).reshape(2, 1, 1, 1)
    for _ in range(2):
        losses = step(model, *batch(labels, size=1))
    assert queue_of(model).keys().lengths.tolist() == [2, 0, 2]
    assert losses['decode.loss_gml'] > 0


def test_a_class_first_seen_after_many_iterations(model):
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    for _ in range(20):
        inputs, samples = batch(torch.randint(2, (2, 1, 8, 8)), size=8)
        losses, _ = model.parse_losses(model.loss(inputs, samples))
        assert losses.isfinite()
        optimizer.update_params(losses)
    queue = queue_of(model)
    full = queue.lengths.tolist()
    assert queue.filled.tolist() == [full[0], full[1], 0]
    for _ in range(3):
        losses = step(model, *batch(torch.full((2, 1, 8, 8), 2), size=8))
    assert queue.filled.tolist() == full
    assert losses['decode.loss_gml'] > 0
    contrast = model.decode_head.contrast
    for part in (model.backbone, contrast.query_mlp, contrast.key_mlp):
        assert any(value.grad.any() for value in part.parameters())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_features_that_are_not_finite(model, value):
    before = copy.deepcopy(queue_of(model).state_dict())
    with torch.no_grad():
        model.decode_head.convs[0].bn.bias[0] = value
    with pytest.raises(FloatingPointError, match='LongTailFCNHead: its features are not .*lower'):
        model.loss(*batch())
    assert all(torch.equal(v, before[name]) for name, v in queue_of(model).state_dict().items())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_features_of_the_teacher_that_are_not_finite(tmp_path, value):
    model = MODELS.build(config(True, tmp_path)).train()
    set_class_counts(model, ClassCounts([70, 20, 10]))
    model.teacher.model.decode_head.convs[0].bn.bias[0] = value
    with pytest.raises(FloatingPointError, match="LongTailFCNHead: the teacher's features are n"):
        model.loss(*batch())
    assert not queue_of(model).filled.any()


def test_a_checkpoint_with_features_of_another_width_leaves_the_queue_empty():
    """A loader that is not strict takes what fits; the fill levels would, the features do not."""
    trained, other = GMLLoss(3, 6, **GML), GMLLoss(3, 6, key_channels=9, **GML)
    trained.queue.enqueue(torch.ones(3, 6), torch.arange(3))
    load_state_dict(other, trained.state_dict(), strict=False)
    assert len(other.queue.keys().features) == 0
