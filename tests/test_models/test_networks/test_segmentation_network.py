"""LongTailEncoderDecoder: what a teacher gives, to whom, and that it leaves no trace."""

import copy
import pickle

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from segmentors import (
    GML,
    GML_HEAD,
    HEAD,
    KD,
    KD_HEAD,
    TEACHER,
    batch,
    changed,
    saved,
    step,
    student,
)
from torch.nn import functional as F

from lt_mm.models.teachers import SegmentationTeacher


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture
def checkpoint(tmp_path):
    return saved(TEACHER, tmp_path / 'teacher.pth')


def test_it_is_an_encoder_decoder_where_nothing_is_asked_for():
    plain = MODELS.build(changed(TEACHER)).eval()
    model = student(decode_head=HEAD).eval()
    model.load_state_dict(plain.state_dict())
    inputs, _ = batch()
    assert torch.equal(model(inputs), plain(inputs))
    losses = step(model.train(), batch())
    assert losses.keys() == {'decode.loss_ce', 'decode.acc_seg'}


def test_features_are_the_input_of_the_classifier_in_eval_mode(checkpoint):
    teacher = SegmentationTeacher(changed(TEACHER), checkpoint)
    inputs, _ = batch()
    taught = teacher(inputs)
    model = MODELS.build(changed(TEACHER)).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    expected = model.decode_head._forward_feature(model.extract_feat(inputs))
    torch.testing.assert_close(taught.features, expected)
    torch.testing.assert_close(taught.logits, model(inputs, mode='tensor'))
    assert not taught.features.requires_grad and not taught.logits.requires_grad
    assert teacher.feature_channels == 6


@pytest.mark.parametrize('head', [dict(type='DAHead', pam_channels=2), dict(type='EncHead')])
def test_logits_of_a_teacher_of_several_maps_are_those_that_it_predicts_with(tmp_path, head):
    head = {**HEAD, **head}
    for argument in ('num_convs', 'concat_input'):
        del head[argument]
    if head['type'] == 'EncHead':
        head |= dict(in_channels=[4, 8], in_index=[0, 1], num_codes=3)
    teacher = changed(TEACHER, decode_head=head)
    taught = SegmentationTeacher(teacher, saved(teacher, tmp_path / 'teacher.pth'))
    inputs, _ = batch()
    upsampled = F.interpolate(taught(inputs).logits, size=(32, 32), mode='bilinear')
    metas = [dict(img_shape=(32, 32))] * 2
    torch.testing.assert_close(upsampled, taught.model.encode_decode(inputs, metas))


def test_keys_of_the_student_come_from_the_teacher(checkpoint):
    model = student(checkpoint)
    inputs, samples = batch()
    step(model, (inputs, samples))
    rows = model.teacher(inputs).features.permute(0, 2, 3, 1).reshape(-1, 6)
    keys = model.decode_head.contrast.queue.keys().features
    assert len(keys) > 0
    assert all((key == rows.half()).all(dim=1).any() for key in keys)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('strides', [(1, 1), (1, 2)], ids=['of one size', 'of a smaller map'])
def test_loss_kd_restated(tmp_path, strides):
    """At every pixel of the student's map, labelled or not, on the raw logits of both."""
    teacher = changed(TEACHER)
    teacher['backbone']['strides'] = strides
    checkpoint = saved(teacher, tmp_path / 'teacher.pth')
    adjusted = dict(type='lt_mm.LogitAdjustedLoss')
    head = dict(KD_HEAD, loss_decode=adjusted, dropout_ratio=0)
    model = student(checkpoint, teacher, decode_head=head)
    labels = torch.randint(3, (2, 1, 32, 32))
    labels[:, :, :20] = 255
    data = batch(labels=labels)
    losses = step(model, data)
    logits = model.decode_head(model.extract_feat(data[0]))
    reference = MODELS.build(teacher).eval()
    reference.load_state_dict(torch.load(checkpoint)['state_dict'])
    offered = reference(data[0], mode='tensor').detach()
    if strides != (1, 1):
        assert offered.shape[2:] != logits.shape[2:]
        offered = F.interpolate(offered, size=logits.shape[2:], mode='bilinear')
    total = 0.0
    for n in range(2):
        for i in range(logits.shape[2]):
            for j in range(logits.shape[3]):
                p = (offered[n, :, i, j].double() / 2).softmax(0)
                q = (logits[n, :, i, j].double() / 2).softmax(0)
                total += 4 * (p * (p / q).log()).sum()
    expected = total / logits[:, 0].numel()
    torch.testing.assert_close(losses['decode.loss_kd'].double(), expected, rtol=1e-4, atol=1e-7)
    assert all(p.grad is not None for p in model.parameters())


def test_keys_and_logits_together(checkpoint):
    model, data = student(checkpoint, decode_head=dict(GML_HEAD, distillation=KD)), batch()
    losses = step(model, data)
    assert {'decode.loss_gml', 'decode.loss_kd'} <= losses.keys()
    assert model.decode_head.contrast.queue.filled.any()


def test_a_contrast_that_takes_no_keys_leaves_the_teacher_to_the_distillation(checkpoint):
    supcon = dict(type='lt_mm.SupConLoss', widths=(5,))
    losses = step(student(checkpoint, decode_head=dict(KD_HEAD, contrast=supcon)), batch())
    assert {'decode.loss_supcon', 'decode.loss_kd'} <= losses.keys()
    with pytest.raises(ValueError, match='LongTailFCNHead, takes neither its features as keys nor'):
        student(checkpoint, decode_head=dict(GML_HEAD, contrast=supcon))


def test_an_auxiliary_head_has_its_own_keys(checkpoint):
    auxiliary = changed(GML_HEAD, in_channels=4, in_index=0, channels=5)
    model, data = student(checkpoint, auxiliary_head=auxiliary), batch()
    losses = step(model, data)
    assert losses['aux.loss_gml'] > 0 and losses['decode.loss_gml'] > 0
    assert model.auxiliary_head.contrast.queue.keys().features.shape[1] == 5


def test_teacher_is_frozen_and_leaves_no_trace(checkpoint):
    model, plain = student(checkpoint), student(type='EncoderDecoder')
    model.init_weights()
    before = {name: value.clone() for name, value in model.teacher.model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    step(model, batch())
    optimizer.step()
    model.train()
    assert not any(module.training for module in model.teacher.model.modules())
    for name, value in model.teacher.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert len(list(model.parameters())) == len(list(plain.parameters()))


@pytest.mark.parametrize('teacher', [dict(config=TEACHER, checkpoint='nowhere.pth'), dict()])
def test_inference_needs_no_teacher(teacher):
    model = student(teacher=teacher).eval()
    inputs, _ = batch()
    assert model(inputs, mode='tensor').shape == (2, 3, 8, 8)


def test_deep_copy_and_averaged_model_share_the_teacher(checkpoint):
    model = student(checkpoint)
    model.init_weights()
    assert copy.deepcopy(model.teacher) is model.teacher
    average = ExponentialMovingAverage(model, momentum=0.5).module
    assert average.teacher is model.teacher
    assert average.backbone is not model.backbone
    assert average.loss(*batch())['decode.loss_gml'].isfinite()
    assert int(average.decode_head.contrast.queue.filled.sum()) > 0
    assert int(model.decode_head.contrast.queue.filled.sum()) == 0


def test_a_pickled_model_predicts_as_before():
    model, data = student(decode_head=dict(GML_HEAD, post_compensation=dict())), batch()
    step(model, data)
    other = pickle.loads(pickle.dumps(model))
    assert torch.equal(other.eval()(data[0]), model.eval()(data[0]))


def test_what_learns_from_no_teacher_and_what_no_teacher_teaches(checkpoint):
    def refuses(message, *args, **changes):
        with pytest.raises(ValueError, match=message):
            student(*args, **changes)

    message = 'has a teacher, but its decode_head, FCNHead, takes neither .* or leave the teacher'
    refuses(message, checkpoint, decode_head=HEAD)
    message = 'decode_head LongTailFCNHead has a distillation, but .* has no teacher; set teacher='
    refuses(message, decode_head=KD_HEAD)
    refuses('auxiliary head LongTailFCNHead has a distillation, .* leave distillation out there',
            checkpoint, auxiliary_head=KD_HEAD)  # fmt: skip


@pytest.mark.parametrize('name', ['TeacherEncoderDecoder', 'DecoupledEncoderDecoder'])
def test_networks_of_earlier_versions_name_their_successor(name):
    with pytest.raises(KeyError, match=f'lt_mm.{name} is gone; use lt_mm.LongTailEncoderDecoder'):
        student(type=f'lt_mm.{name}')


def test_a_smaller_queue_for_a_wider_teacher():
    head = changed(GML_HEAD, contrast=dict(GML, key_channels=9))
    assert student(decode_head=head).decode_head.contrast.queue.keys().features.shape[1] == 9
