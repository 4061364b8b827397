"""A teacher that cannot serve is refused when training starts; one that can is not."""

import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.teachers import SegmentationTeacher
from lt_mm.structures import ClassCounts

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
TEACHER = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[1.0, 2, 3], std=[4.0, 5, 6], bgr_to_rgb=True
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=2,
        out_indices=(0, 1),
        stem_channels=4,
        base_channels=4,
        strides=(1, 1),
        dilations=(1, 1),
        norm_cfg=dict(type='BN'),
    ),
    decode_head=HEAD,
)
GML = dict(size=30, min_size=2, widths=(5,))
AUXILIARY = dict(HEAD, in_channels=4, in_index=0)


@MODELS.register_module()
class HeadWithoutClassifier(FCNHead):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        del self.conv_seg

    def cls_seg(self, feat):
        return feat


@MODELS.register_module()
class HeadPastItsClassifier(FCNHead):
    def cls_seg(self, feat):
        return feat


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def changed(cfg, **changes):
    return {**copy.deepcopy(cfg), **changes}


def saved(cfg, path):
    torch.manual_seed(1)
    model = MODELS.build(copy.deepcopy(cfg))
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def student(teacher, checkpoint, **changes):
    cfg = changed(
        TEACHER,
        type='lt_mm.TeacherEncoderDecoder',
        decode_head=dict(HEAD, type='lt_mm.GMLFCNHead', gml=GML, keys_per_class=10**6),
        teacher=dict(config=teacher, checkpoint=checkpoint),
        **changes,
    )
    model = MODELS.build(cfg)
    for module in model.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(ClassCounts([70, 20, 10]))
    return model.train()


def batch():
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(3, (1, 32, 32))), metainfo=dict(img_path=str(i))
        )
        for i in range(2)
    ]
    return torch.randn(2, 3, 32, 32), samples


def refuses(teacher, checkpoint, error, message, **changes):
    model = student(teacher, checkpoint, **changes)
    with pytest.raises(error, match=message):
        model.init_weights()


@pytest.mark.parametrize('missing', ['config', 'checkpoint'])
def test_half_a_teacher(missing):
    teacher = dict(config=TEACHER, checkpoint='x.pth')
    del teacher[missing]
    head = dict(HEAD, type='lt_mm.GMLFCNHead', gml=GML)
    cfg = changed(TEACHER, type='lt_mm.TeacherEncoderDecoder', teacher=teacher, decode_head=head)
    with pytest.raises(ValueError, match=f'has no {missing}; give'):
        MODELS.build(cfg).init_weights()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ('nowhere.py', "teacher config 'nowhere.py' does not exist .*check the path"),
        (
            'mmseg::fcn/no.py',
            "config 'mmseg::fcn/no.py' does not exist .*look at the names",
        ),
    ],
)
def test_missing_config(config, message):
    refuses(config, 'unused.pth', FileNotFoundError, message)


def test_config_without_a_model(tmp_path):
    (tmp_path / 'data.py').write_text("data_root = 'data'\n")
    message = 'has no model; pass the config that the teacher was trained with'
    refuses(str(tmp_path / 'data.py'), 'unused.pth', ValueError, f'data.py {message}')
    refuses(dict(depth=18), 'unused.pth', ValueError, rf"with the keys \['depth'\] {message}")


def test_whole_config_or_its_model_and_neither_is_changed(tmp_path):
    checkpoint = saved(TEACHER, tmp_path / 'teacher.pth')
    (tmp_path / 'teacher.py').write_text(f'model = {TEACHER!r}\n')
    inputs, _ = batch()
    expected = SegmentationTeacher(changed(TEACHER), checkpoint)(inputs)
    whole = Config(dict(model=changed(TEACHER, auxiliary_head=AUXILIARY)))
    before = copy.deepcopy(whole.to_dict())
    for config in (str(tmp_path / 'teacher.py'), tmp_path / 'teacher.py', whole._cfg_dict):
        torch.testing.assert_close(SegmentationTeacher(config, checkpoint)(inputs), expected)
    assert whole.to_dict() == before


def test_missing_checkpoint_code_and_damage_end_init_weights(tmp_path):
    teacher = changed(TEACHER)
    refuses(teacher, 'nowhere.pth', FileNotFoundError, "'nowhere.pth' does not exist")
    checkpoint = saved(TEACHER, tmp_path / 'teacher.pth')
    (tmp_path / 'cut.pth').write_bytes(open(checkpoint, 'rb').read()[:1000])
    refuses(teacher, str(tmp_path / 'cut.pth'), ValueError, 'cut.pth.*cannot be read')
    torch.save(dict(state_dict={}, meta=re.compile('a')), tmp_path / 'code.pth')
    refuses(teacher, str(tmp_path / 'code.pth'), ValueError, "needs 're._compile' imported")


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (dict(num_classes=4), 'size mismatch for decode_head.conv_seg'),
        (
            dict(concat_input=True),
            'unknown to the model: decode_head.conv_cat',
        ),
        (dict(num_convs=0, in_channels=6), '5 missing from it: decode_head.convs.0.conv.weight, '),
    ],
)
def test_weights_of_another_model(tmp_path, head, message):
    checkpoint = saved(changed(TEACHER, decode_head={**HEAD, **head}), tmp_path / 'other.pth')
    message = rf"(?s)other.pth' does not fit the teacher config \(.*{message}.*trained with"
    refuses(changed(TEACHER), checkpoint, ValueError, message)


def test_what_only_training_needs_may_be_absent_or_other(tmp_path):
    """Auxiliary heads, losses and the queue of a GML teacher give nothing to the features."""
    plain, auxiliary = TEACHER, changed(TEACHER, auxiliary_head=AUXILIARY)
    cosine = changed(TEACHER, decode_head=dict(HEAD, type='lt_mm.CosineFCNHead'))
    gml = changed(TEACHER, decode_head=dict(HEAD, type='lt_mm.GMLFCNHead', gml=GML))
    longer = changed(
        gml, decode_head=dict(HEAD, type='lt_mm.GMLFCNHead', gml=dict(GML, size=50, widths=(9,)))
    )
    inputs, _ = batch()
    for index, (trained, config) in enumerate(
        [(auxiliary, plain), (plain, auxiliary), (gml, cosine), (cosine, gml), (gml, longer)]
    ):
        checkpoint = saved(trained, tmp_path / f'{index}.pth')
        features = SegmentationTeacher(changed(config), checkpoint)(inputs)
        expected = SegmentationTeacher(changed(trained), checkpoint)(inputs)
        torch.testing.assert_close(features, expected)


def test_trained_gml_model_with_its_counts_is_a_teacher(tmp_path):
    checkpoint = saved(TEACHER, tmp_path / 'first.pth')
    model = student(changed(TEACHER), checkpoint)
    model.loss(*batch())
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'second.pth')
    config = changed(
        TEACHER,
        type='lt_mm.TeacherEncoderDecoder',
        decode_head=dict(HEAD, type='lt_mm.GMLFCNHead', gml=GML),
        teacher=dict(config='gone.py', checkpoint='gone.pth'),
    )
    assert SegmentationTeacher(config, str(tmp_path / 'second.pth')).feature_channels == 6


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        ('HeadWithoutClassifier', 'teacher head HeadWithoutClassifier has no conv_seg.*per-pixel'),
        ('HeadPastItsClassifier', 'head HeadPastItsClassifier does not use its conv_seg.*per-pix'),
    ],
)
def test_head_without_a_classifier_that_sees_features(tmp_path, head, message):
    teacher = changed(TEACHER, decode_head=dict(HEAD, type=head))
    model = student(teacher, saved(teacher, tmp_path / 'teacher.pth'))
    with pytest.raises(ValueError, match=message):
        model.init_weights()
        model.loss(*batch())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(mean=[1.0, 2, 4]),
            r'mean .* \[1.0, 2.0, 3.0\] for the student and .* 4.0\]',
        ),
        (dict(std=[4.0]), 'std of the data_preprocessor'),
        (dict(mean=None, std=None), 'for the student and None for the teacher'),
        (dict(bgr_to_rgb=False), 'swapping of red and blue .* True for the student and False'),
    ],
)
def test_images_prepared_otherwise(tmp_path, change, message):
    preprocessor = dict(TEACHER['data_preprocessor'], **change)
    checkpoint = saved(TEACHER, tmp_path / 'teacher.pth')
    teacher = changed(TEACHER, data_preprocessor=preprocessor)
    refuses(teacher, checkpoint, ValueError, f'{message}.*use the same')


def test_teacher_that_says_nothing_of_its_images_is_taken(tmp_path):
    checkpoint = saved(TEACHER, tmp_path / 'teacher.pth')
    teacher = changed(TEACHER)
    del teacher['data_preprocessor']
    student(teacher, checkpoint).init_weights()


@pytest.mark.parametrize('strides', [(1, 2), (2, 2)])
def test_teacher_of_another_resolution(tmp_path, strides):
    """Each map meets the labels at its own resolution."""
    teacher = changed(TEACHER)
    teacher['backbone']['strides'] = strides
    model = student(teacher, saved(teacher, tmp_path / 'teacher.pth'))
    model.decode_head.gml.queue.lengths.fill_(10)
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    features = model.teacher(inputs)
    side = features.shape[-1]
    assert side < 8
    labels = torch.stack([s.gt_sem_seg.data[0, :: 32 // side, :: 32 // side] for s in samples])
    rows = features.permute(0, 2, 3, 1)
    keys = model.decode_head.gml.queue.keys()
    assert keys.lengths.tolist() == [min(10, int((labels == c).sum())) for c in range(3)]
    for c, part in enumerate(keys.features.float().split(keys.lengths.tolist())):
        distance = (part[:, None] - rows[labels == c]).abs().amax(dim=2)
        assert distance.min(dim=1).values.max() < 1e-3 * rows.abs().max()
    loss = sum(value for name, value in losses.items() if 'loss' in name)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())


def test_deep_copy_and_averaged_model_share_the_teacher(tmp_path):
    model = student(changed(TEACHER), saved(TEACHER, tmp_path / 'teacher.pth'))
    model.init_weights()
    assert copy.deepcopy(model.teacher) is model.teacher
    average = ExponentialMovingAverage(model, momentum=0.5).module
    assert average.teacher is model.teacher
    assert average.backbone is not model.backbone
    inputs, samples = batch()
    assert average.loss(inputs, samples)['decode.loss_gml'].isfinite()
    assert int(average.decode_head.gml.queue.filled.sum()) > 0
    assert int(model.decode_head.gml.queue.filled.sum()) == 0
