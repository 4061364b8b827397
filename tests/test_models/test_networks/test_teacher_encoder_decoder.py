"""The teacher gives features, and leaves no trace in the student."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.teachers import SegmentationTeacher
from lt_mm.structures import ClassCounts

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
PREPROCESSOR = dict(type='SegDataPreProcessor', mean=[1.0, 2, 3], std=[4.0, 5, 6], size=(32, 32))
TEACHER = dict(
    type='EncoderDecoder',
    backbone=BACKBONE,
    data_preprocessor=PREPROCESSOR,
    decode_head=dict(
        type='FCNHead',
        in_channels=8,
        in_index=1,
        channels=6,
        num_convs=1,
        concat_input=False,
        num_classes=3,
        norm_cfg=dict(type='BN'),
        dropout_ratio=0.5,
    ),
)
STUDENT = dict(
    TEACHER,
    type='lt_mm.TeacherEncoderDecoder',
    decode_head=dict(
        TEACHER['decode_head'], type='lt_mm.GMLFCNHead', gml=dict(size=30, min_size=2, widths=(5,))
    ),
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(1)
    model = MODELS.build(copy.deepcopy(TEACHER))
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'teacher.pth'))
    return str(tmp_path / 'teacher.pth')


def student(checkpoint, **changes):
    cfg = copy.deepcopy({**STUDENT, 'teacher': dict(config=TEACHER, checkpoint=checkpoint)})
    cfg['decode_head'].update(changes)
    model = MODELS.build(cfg)
    for module in model.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(ClassCounts([70, 20, 10]))
    return model.train()


def batch():
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 32, 32)))) for _ in range(2)
    ]
    return torch.randn(2, 3, 32, 32), samples


def test_features_are_the_input_of_the_classifier_in_eval_mode(checkpoint):
    teacher = SegmentationTeacher(copy.deepcopy(TEACHER), checkpoint)
    inputs, _ = batch()
    features = teacher(inputs)
    model = MODELS.build(copy.deepcopy(TEACHER)).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    expected = model.decode_head._forward_feature(model.extract_feat(inputs))
    torch.testing.assert_close(features, expected)
    assert not features.requires_grad and teacher.feature_channels == 6


def test_keys_of_the_student_come_from_the_teacher(checkpoint):
    model = student(checkpoint)
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    rows = model.teacher(inputs).permute(0, 2, 3, 1).reshape(-1, 6)
    keys = model.decode_head.gml.queue.keys().features
    assert len(keys) > 0
    assert all((key == rows.half()).all(dim=1).any() for key in keys)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_teacher_is_frozen_and_leaves_no_trace(checkpoint):
    model = student(checkpoint)
    plain = MODELS.build(dict(copy.deepcopy(STUDENT), type='EncoderDecoder'))
    model.init_weights()
    before = {name: value.clone() for name, value in model.teacher.model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    sum(v for k, v in model.loss(*batch()).items() if 'loss' in k).backward()
    optimizer.step()
    model.train()
    assert not any(module.training for module in model.teacher.model.modules())
    for name, value in model.teacher.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert len(list(model.parameters())) == len(list(plain.parameters()))


def test_inference_needs_no_teacher_file():
    model = student('nowhere.pth').eval()
    inputs, samples = batch()
    assert model(inputs, mode='tensor').shape == (2, 3, 8, 8)


def test_missing_checkpoint_is_found_when_training_starts():
    with pytest.raises(FileNotFoundError, match="checkpoint 'nowhere.pth' does not exist"):
        student('nowhere.pth').init_weights()


def test_checkpoint_of_another_model(checkpoint, tmp_path):
    save_checkpoint(dict(state_dict={'a': torch.ones(1)}), str(tmp_path / 'other.pth'))
    with pytest.raises(ValueError, match='other.pth.*does not fit the teacher config'):
        student(str(tmp_path / 'other.pth')).init_weights()


def test_other_feature_width_names_the_argument(checkpoint):
    model = student(checkpoint, gml=dict(size=30, min_size=2, widths=(5,), key_channels=9))
    with pytest.raises(ValueError, match='features of 6 channels.*have 9.*key_channels=6'):
        model.init_weights()


def test_other_preprocessing_is_refused(checkpoint):
    model = student(checkpoint)
    model.data_preprocessor.mean += 1
    with pytest.raises(ValueError, match='mean of the data_preprocessor'):
        model.init_weights()


def test_a_head_that_takes_no_keys_is_refused(checkpoint):
    with pytest.raises(ValueError, match='FCNHead, which takes no keys'):
        MODELS.build(
            {
                **copy.deepcopy(TEACHER),
                'type': 'lt_mm.TeacherEncoderDecoder',
                'teacher': dict(config=TEACHER, checkpoint=checkpoint),
            }
        )
