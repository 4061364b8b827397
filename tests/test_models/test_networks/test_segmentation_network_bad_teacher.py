"""A teacher that cannot serve is refused when training starts; one that can is not."""

import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead
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

from lt_mm.models.teachers import SegmentationTeacher

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
    torch.manual_seed(0)


def refuses(teacher, checkpoint, error, message, **changes):
    model = student(checkpoint, teacher, **changes)
    with pytest.raises(error, match=message):
        model.init_weights()


@pytest.mark.parametrize('given', [dict(config=TEACHER), dict(checkpoint='x.pth'), dict()])
def test_half_a_teacher_is_missed_when_training_starts(given):
    missing = ' and no '.join(sorted({'config', 'checkpoint'} - set(given)))
    with pytest.raises(ValueError, match=f'has no {missing}; give .* and earlier_stages'):
        student(teacher=given).init_weights()


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
    expected = SegmentationTeacher(changed(TEACHER), checkpoint)(inputs).features
    whole = Config(dict(model=changed(TEACHER, auxiliary_head=AUXILIARY)))
    before = copy.deepcopy(whole.to_dict())
    for config in (str(tmp_path / 'teacher.py'), tmp_path / 'teacher.py', whole._cfg_dict):
        found = SegmentationTeacher(config, checkpoint)(inputs).features
        torch.testing.assert_close(found, expected)
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
    gml = changed(TEACHER, decode_head=GML_HEAD)
    longer = changed(gml, decode_head=dict(GML_HEAD, contrast=dict(GML, size=50, widths=(9,))))
    inputs, _ = batch()
    for index, (trained, config) in enumerate(
        [(auxiliary, plain), (plain, auxiliary), (gml, cosine), (cosine, gml), (gml, longer)]
    ):
        checkpoint = saved(trained, tmp_path / f'{index}.pth')
        found = SegmentationTeacher(changed(config), checkpoint)(inputs)
        expected = SegmentationTeacher(changed(trained), checkpoint)(inputs)
        torch.testing.assert_close(tuple(found), tuple(expected))


def test_a_checkpoint_of_an_earlier_version_is_a_teacher(tmp_path):
    """There the contrast was called gml."""
    cfg = changed(TEACHER, decode_head=GML_HEAD)
    state = MODELS.build(changed(cfg)).state_dict()
    old = {name.replace('.contrast.', '.gml.'): value for name, value in state.items()}
    assert old.keys() != state.keys()
    torch.save(dict(state_dict=old), tmp_path / 'old.pth')
    assert SegmentationTeacher(cfg, str(tmp_path / 'old.pth')).feature_channels == 6


def test_trained_gml_model_with_its_counts_is_a_teacher(tmp_path):
    model = student(saved(TEACHER, tmp_path / 'first.pth'))
    model.loss(*batch())
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'second.pth')
    config = changed(
        TEACHER,
        type='lt_mm.LongTailEncoderDecoder',
        decode_head=GML_HEAD,
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
    model = student(saved(teacher, tmp_path / 'teacher.pth'), teacher)
    with pytest.raises(ValueError, match=message):
        model.init_weights()
        model.loss(*batch())


@pytest.mark.parametrize('of_experts', [False, True])
@pytest.mark.parametrize('kind', ['experts', 'HeadPastItsClassifier', 'HeadWithoutClassifier'])
def test_a_head_without_features_teaches_logits(tmp_path, kind, of_experts):
    head = dict(HEAD, type=kind, channels=3)
    if kind == 'experts':
        head = dict(HEAD, type='lt_mm.MultiExpertDecodeHead', experts=[dict(type='FCNHead')] * 2)
    teacher = changed(TEACHER, decode_head=head)
    checkpoint = saved(teacher, tmp_path / 'teacher.pth')
    learning = KD_HEAD
    if of_experts:
        experts = [dict(type='lt_mm.LongTailHead', base='FCNHead')] * 2
        learning = dict(HEAD, type='lt_mm.MultiExpertDecodeHead', experts=experts, distillation=KD)
    model = student(checkpoint, teacher, decode_head=learning)
    model.init_weights()
    inputs, samples = batch()
    losses = step(model, (inputs, samples))
    taught = model.teacher(inputs, needs_features=False)
    assert taught.features is None and taught.logits.shape[1] == 3
    torch.testing.assert_close(
        taught.logits, model.teacher.model.decode_head(model.teacher.model.extract_feat(inputs))
    )
    assert losses['decode.loss_kd'] > 0
    both = changed(KD_HEAD, contrast=dict(GML, type='lt_mm.GMLLoss', key_channels=3))
    model = student(checkpoint, teacher, decode_head=both)
    with pytest.raises(ValueError, match='conv_seg.*per-pixel classifier'):
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
    student(checkpoint, teacher).init_weights()


@pytest.mark.parametrize('strides', [(1, 2), (2, 2)])
def test_teacher_of_another_resolution(tmp_path, strides):
    """Each map meets the labels at its own resolution."""
    teacher = changed(TEACHER)
    teacher['backbone']['strides'] = strides
    head = dict(GML_HEAD, keys_per_class=10**6)
    model = student(saved(teacher, tmp_path / 'teacher.pth'), teacher, decode_head=head)
    queue = model.decode_head.contrast.queue
    queue.lengths.fill_(10)
    inputs, samples = batch()
    step(model, (inputs, samples))
    features = model.teacher(inputs).features
    side = features.shape[-1]
    assert side < 8
    labels = torch.stack([s.gt_sem_seg.data[0, :: 32 // side, :: 32 // side] for s in samples])
    rows, keys = features.permute(0, 2, 3, 1), queue.keys()
    assert keys.lengths.tolist() == [min(10, int((labels == c).sum())) for c in range(3)]
    for c, part in enumerate(keys.features.float().split(keys.lengths.tolist())):
        distance = (part[:, None] - rows[labels == c]).abs().amax(dim=2)
        assert distance.min(dim=1).values.max() < 1e-3 * rows.abs().max()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_other_feature_width_names_the_argument(tmp_path):
    checkpoint = saved(TEACHER, tmp_path / 'teacher.pth')
    head = dict(GML_HEAD, contrast=dict(GML, key_channels=9))
    message = 'features of 6 channels.*have 9.*decode_head.contrast.key_channels=6'
    refuses(changed(TEACHER), checkpoint, ValueError, message, decode_head=head)
