"""LongTailCascadeEncoderDecoder: OCRNet whose stages have options, each with the same teacher."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from segmentors import COUNTS, GML, HEAD, KD, TEACHER, batch, changed, saved, step
from torch.nn import functional as F

from lt_mm.models.counts import set_class_counts
from lt_mm.models.losses import KDLoss
from lt_mm.models.teachers import SegmentationTeacher
from lt_mm.structures import ClassCounts

ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
FIRST = dict(HEAD, dropout_ratio=0)
SECOND = dict(
    type='OCRHead', in_channels=8, in_index=1, channels=6, ocr_channels=4, num_classes=3,
    norm_cfg=dict(type='BN'), dropout_ratio=0,
)  # fmt: skip
CASCADE = dict(TEACHER, type='CascadeEncoderDecoder', num_stages=2, decode_head=[FIRST, SECOND])
CONTRAST = dict(classifier='cosine', loss_decode=ADJUSTED, contrast=dict(GML, type='lt_mm.GMLLoss'))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture
def checkpoint(tmp_path):
    return saved(TEACHER, tmp_path / 'teacher.pth')


def options(head, **changes):
    return dict(head, type='lt_mm.LongTailHead', base=head['type'], **changes)


def build(first=None, second=None, kind='lt_mm.LongTailCascadeEncoderDecoder', **changes):
    """With the options of each stage; None is a plain head."""
    heads = [
        head if of_it is None else options(head, **of_it)
        for head, of_it in ((FIRST, first), (SECOND, second))
    ]
    model = MODELS.build(changed(CASCADE, type=kind, decode_head=heads, **changes))
    set_class_counts(model, ClassCounts(COUNTS))
    return model.train()


def taught_by(checkpoint):
    return dict(teacher=dict(config=TEACHER, checkpoint=checkpoint))


@pytest.mark.parametrize('kind', ['lt_mm.LongTailCascadeEncoderDecoder', 'CascadeEncoderDecoder'])
@pytest.mark.parametrize('stages', [(0,), (1,), (0, 1)])
def test_contrast_in_any_stage(kind, stages):
    given = [CONTRAST if stage in stages else None for stage in range(2)]
    model = build(*given, kind=kind)
    for _ in range(2):
        losses = step(model, batch())
    for stage, head in enumerate(model.decode_head):
        assert (f'decode_{stage}.loss_gml' in losses) == (stage in stages)
        if stage in stages:
            assert losses[f'decode_{stage}.loss_gml'] > 0 and head.contrast.queue.filled.any()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in model.parameters())


def test_keys_and_logits_of_the_teacher_reach_every_stage(checkpoint):
    stage = dict(CONTRAST, distillation=KD)
    model = build(stage, stage, **taught_by(checkpoint))
    model.init_weights()
    inputs, samples = batch()
    losses = step(model, (inputs, samples))
    taught = model.teacher(inputs)
    rows = taught.features.permute(0, 2, 3, 1).reshape(-1, 6).half()
    features = model.extract_feat(inputs)
    first = model.decode_head[0](features)
    logits = [first, model.decode_head[1](features, first)]
    for stage, head in enumerate(model.decode_head):
        keys = head.contrast.queue.keys().features
        assert len(keys) and all((key == rows).all(dim=1).any() for key in keys)
        expected = KDLoss(temperature=2.0)(logits[stage], taught.logits)
        torch.testing.assert_close(losses[f'decode_{stage}.loss_kd'], expected)
    assert not any('teacher' in name for name in model.state_dict())


@pytest.mark.parametrize('stage', [0, 1])
def test_one_stage_may_learn_alone(checkpoint, stage):
    given = [None, None]
    given[stage] = dict(distillation=KD)
    losses = step(build(*given, **taught_by(checkpoint)), batch())
    found = [name for name in losses if name.endswith('loss_kd')]
    assert found == [f'decode_{stage}.loss_kd']


def test_predictions_are_those_of_the_plain_cascade():
    plain = MODELS.build(changed(CASCADE)).eval()
    added = dict(alignment=dict(type='lt_mm.DisAlign'), contrast=CONTRAST['contrast'])
    model = build(added, added).eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all('.alignment.' in name or '.contrast.' in name for name in missing)
    (inputs, _), metas = batch(), [dict(img_shape=(32, 32))] * 2
    torch.testing.assert_close(
        model.encode_decode(inputs, metas), plain.encode_decode(inputs, metas)
    )


def test_a_cascade_teaches_with_its_last_stage(tmp_path):
    checkpoint = saved(CASCADE, tmp_path / 'cascade.pth')
    taught = SegmentationTeacher(changed(CASCADE), checkpoint)(batch()[0])
    assert taught.features.shape == (2, 6, 8, 8)
    model = MODELS.build(changed(CASCADE)).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    logits = F.conv2d(taught.features, *model.decode_head[1].conv_seg.parameters())
    torch.testing.assert_close(taught.logits, logits)


def test_alpha_of_the_last_stage_is_for_all_and_that_of_another_is_its_own():
    model = build(dict(loss_decode=ADJUSTED), dict(alpha=0.2, loss_decode=ADJUSTED))
    assert [head.loss_decode.alpha for head in model.decode_head] == [0.2, 0.2]
    model = build(dict(alpha=0.2, loss_decode=ADJUSTED), dict(loss_decode=ADJUSTED))
    assert [head.loss_decode.alpha for head in model.decode_head] == [0.2, 1.0]
    model = build(dict(alpha=0.0, loss_decode=ADJUSTED), dict(CONTRAST, alpha=0.7))
    assert [head.loss_decode.alpha for head in model.decode_head] == [0.0, 0.7]


@pytest.mark.parametrize('freeze_decode_head', [False, True])
def test_what_is_frozen(freeze_decode_head):
    model = build(dict(), None, freeze_encoder=True, freeze_decode_head=freeze_decode_head)
    step(model, batch())
    moved = {name for name, one in model.named_parameters() if one.grad is not None}
    heads = {name for name, _ in model.named_parameters() if name.startswith('decode_head')}
    assert moved == {name for name in heads if 'conv_seg' in name or not freeze_decode_head}
    assert not any(part.training for part in model.backbone.modules())
    assert model.decode_head[1].bottleneck.training is not freeze_decode_head


def test_a_copy_after_a_step():
    """The first stage is asked once more for what the second one builds upon."""
    model, data = build(CONTRAST, CONTRAST), batch()
    step(model, data)
    other = copy.deepcopy(model)
    assert torch.equal(other.eval()(data[0], mode='tensor'), model.eval()(data[0], mode='tensor'))


def test_bad_input(checkpoint):
    wide = dict(CONTRAST, contrast=dict(CONTRAST['contrast'], key_channels=9))
    model = build(CONTRAST, wide, **taught_by(checkpoint))
    with pytest.raises(ValueError, match=r'have 9; set decode_head\[1\].contrast.key_channels=6'):
        model.init_weights()
    with pytest.raises(ValueError, match='its decode_head, FCNHead and OCRHead, takes neither'):
        build(**taught_by(checkpoint))
    with pytest.raises(ValueError, match='decode_head LongTailOCRHead has a distillation, but'):
        build(None, dict(distillation=KD))
