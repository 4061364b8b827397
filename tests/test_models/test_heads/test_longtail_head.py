"""LongTailHead: what its parts compute, restated; which features, keys and labels meet."""

import copy
from contextlib import nullcontext

import pytest
import torch
from decode_heads import (
    ADJUSTED,
    COUNTS,
    GML,
    PRIOR,
    batch,
    config,
    inputs_of,
    long_tail,
    losses_in,
    plain,
    predict,
    samples_of,
    step,
)
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.nn import functional as F

from lt_mm.models.layers import CosineConv2d
from lt_mm.models.losses import KDLoss
from lt_mm.models.teachers.frozen_network import TeacherOutput

ALL_KEYS = 10**6
DISALIGN = dict(type='lt_mm.DisAlign')
LWS = dict(type='lt_mm.LearnableWeightScaling')
LOG_PRIOR = PRIOR.log().reshape(1, 4, 1, 1)

CONTRASTS = [
    GML,
    dict(type='lt_mm.SupConLoss', widths=(6,)),
    dict(type='lt_mm.BCLLoss', widths=(6,)),
    dict(type='lt_mm.PaCoLoss', widths=(6,), size=16),
]
contrasts = pytest.mark.parametrize('contrast', CONTRASTS, ids=lambda one: one['type'])


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def gml_head(**changes):
    return long_tail(**(dict(classifier='cosine', loss_decode=ADJUSTED, contrast=GML) | changes))


def taught(features, logits=None):
    return TeacherOutput(features, torch.zeros(2, 4, 1, 1) if logits is None else logits)


def labelled(features, samples):
    """Rows, labels and image numbers of the labelled pixels of (2, D, h, w) maps."""
    rows, labels, images = [], [], []
    stride = samples[0].gt_sem_seg.data.shape[-1] // features.shape[-1]
    for n, sample in enumerate(samples):
        for i in range(features.shape[2]):
            for j in range(features.shape[3]):
                label = int(sample.gt_sem_seg.data[0, stride * i, stride * j])
                if label != 255:
                    rows.append(features[n, :, i, j])
                    labels.append(label)
                    images.append(n)
    return torch.stack(rows), torch.tensor(labels), images


def test_loss_gml_restated():
    """Rows, keys, eq. 3 and eq. 11 by hand, with a queue that holds every key."""
    head = gml_head(alpha=0.3, keys_per_class=ALL_KEYS, contrast=dict(GML, size=400, min_size=100))
    samples, features = samples_of(), torch.randn(2, 8, 4, 4)
    loss = head.loss_by_feat(head.cls_seg(features), samples)['loss_gml']
    rows, labels, _ = labelled(features, samples)
    assert 0 < len(labels) < 32
    queries = head.contrast.query_mlp(rows).double()
    keys = head.contrast.key_mlp(rows.half()).double()
    total = 0.0
    for query, label in zip(queries, labels, strict=True):
        scores = []
        for c in range(4):
            mean = (keys[labels == c] @ query / 0.07).exp().mean()
            scores.append(mean.log() + 0.3 * PRIOR[c].double().log())
        total += -(scores[label] - torch.stack(scores).logsumexp(0))
    torch.testing.assert_close(loss.double(), total / len(labels), rtol=1e-5, atol=1e-5)


def test_loss_supcon_restated_on_the_sampled_pixels():
    """At most so many pixels of a class of an image take part, each compared with all."""
    contrast = dict(type='lt_mm.SupConLoss', widths=(6,), temperature=0.2)
    head = long_tail(contrast=contrast, keys_per_class=ALL_KEYS)
    samples, features = samples_of(), torch.randn(2, 8, 4, 4)
    loss = head.loss_by_feat(head.cls_seg(features), samples)['loss_supcon']
    rows, labels, _ = labelled(features, samples)
    z = head.contrast.query_mlp(rows).double()
    total = 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        scores = z @ z[i] / 0.2
        assert positives
        denominator = scores[others].logsumexp(0)
        total += -(scores[positives] - denominator).mean()
    torch.testing.assert_close(loss.double(), total / len(z), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('teacher', [False, True], ids=['own keys', 'teacher'])
@contrasts
def test_what_a_contrast_is_given(contrast, teacher):
    head, seen = long_tail(contrast=contrast, keys_per_class=2), []
    head.contrast.contrast = lambda batch: seen.append(batch) or {}
    samples, features, maps = samples_of(), torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    with head.taught_by(taught(maps)) if teacher else nullcontext():
        head.loss_by_feat(head.cls_seg(features), samples)
    (given,) = seen
    rows, labels, images = labelled(features, samples)
    pairwise = contrast is not GML
    places = [(row == rows).all(1).nonzero().item() for row in given.queries[0]]
    assert torch.equal(given.labels, labels[places])
    per_image = [images[place] * 4 + labels[place].item() for place in places]
    if pairwise:
        assert max(per_image.count(one) for one in per_image) == 2
    else:
        assert places == list(range(len(rows)))
    ids = given.ids.tolist()
    assert [ids.index(one) for one in ids] == [
        [images[place] for place in places].index(images[place]) for place in places
    ]
    expected = labelled(maps if teacher else features, samples)[0]
    if pairwise and head.takes_keys:
        # Of the same pixels.
        assert torch.equal(given.keys, expected[places])
    elif head.takes_keys:
        found = [(key == expected).all(1).nonzero().item() for key in given.keys]
        assert torch.equal(given.key_labels, labels[found])
        groups = [images[place] * 4 + labels[place].item() for place in found]
        assert max(groups.count(one) for one in groups) == 2
    logits = head.conv_seg(features).movedim(1, -1).reshape(-1, 4)
    rows_of_all = features.movedim(1, -1).reshape(-1, 8)
    torch.testing.assert_close(given.classifier(rows_of_all), logits)
    assert torch.equal(given.classifier.weight, head.conv_seg.weight[:, :, 0, 0])


def test_teacher_keys_replace_the_own_ones_only_inside_the_context():
    head, data = gml_head(), batch()
    with head.taught_by(taught(torch.full((2, 8, 8, 8), 3.0))):
        head.loss(*data, train_cfg={})
    queue = head.contrast.queue
    filled = int(queue.filled.sum())
    assert filled > 0 and (queue.keys().features == 3.0).all()
    head.loss(*data, train_cfg={})
    assert not (queue.keys().features == 3.0).all()


def test_keys_of_a_pairwise_contrast_from_maps_of_another_size():
    """One MLP and its average embed both, pixel by pixel: the teacher's map is resized."""
    head, seen = long_tail(contrast=dict(type='lt_mm.PaCoLoss', widths=(6,), size=16)), []
    head.contrast.contrast = lambda batch: seen.append(batch) or {}
    samples, features, maps = samples_of(), torch.randn(2, 8, 4, 4), torch.randn(2, 8, 8, 8)
    with head.taught_by(taught(maps)):
        head.loss_by_feat(head.cls_seg(features), samples)
    resized = F.interpolate(maps, size=(4, 4), mode='bilinear')
    rows, _, _ = labelled(features, samples)
    places = [(row == rows).all(1).nonzero().item() for row in seen[0].queries[0]]
    torch.testing.assert_close(seen[0].keys, labelled(resized, samples)[0][places])


def test_at_most_keys_per_class_enter_the_queue():
    head = gml_head(contrast=dict(GML, size=400), keys_per_class=1)
    head.loss(*batch(), train_cfg={})
    assert head.contrast.queue.filled.max() <= 2  # one from each image


@pytest.mark.parametrize('ignored', [(0,), (0, 1)])
@contrasts
def test_ignored_images_give_a_finite_loss_and_gradients(contrast, ignored):
    head = gml_head(contrast=contrast)
    losses, moved = step(head, batch(ignored=ignored))
    if len(ignored) == 2:
        assert all(value == 0 for value in losses_in(losses).values())
    for name, value in head.named_parameters():
        # PaCo's MLP of the keys is an average.
        assert 'key_mlp.module' in name or (name in moved and value.grad.isfinite().all()), name


@pytest.mark.parametrize('ignore_index', [0, None])
def test_what_is_ignored_is_the_heads_to_say(ignore_index):
    """Also None, for none, and a class, such as the background."""
    loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    changes = dict(keys_per_class=ALL_KEYS, ignore_index=ignore_index, contrast=dict(GML, size=400))
    head, samples = gml_head(**changes, loss_decode=loss if ignore_index == 0 else ADJUSTED), []
    for sample in samples_of():
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 255] = 0
        samples.append(sample)
    features = torch.randn(2, 8, 4, 4)
    head.loss_by_feat(head.cls_seg(features), samples)
    _, labels, _ = labelled(features, samples)
    expected = labels.bincount(minlength=4)
    if ignore_index == 0:
        expected[0] = 0
    assert torch.equal(head.contrast.queue.filled, torch.minimum(
        expected, head.contrast.queue.lengths
    ))  # fmt: skip


@contrasts
def test_half_precision(contrast):
    head, data, found = gml_head(contrast=contrast, dropout_ratio=0), batch(), []
    for enabled in (False, True):
        other = copy.deepcopy(head)
        torch.manual_seed(0)  # for the pixels that are sampled
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            found.append(losses_in(other.loss(*data, train_cfg={})))
        sum(found[-1].values()).backward()
        assert all(one.grad.isfinite().all() for one in other.parameters() if one.requires_grad)
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0.05, atol=0.05)


def test_inference_is_the_classifier_alone():
    head = gml_head(classifier_temperature=0.1)
    inputs = inputs_of()
    logits = head.eval().forward(inputs)
    features = head._forward_feature(inputs)
    weight = F.normalize(head.conv_seg.weight, dim=1)
    expected = torch.einsum('ndhw,cd->nchw', F.normalize(features, dim=1), weight) / 0.1
    torch.testing.assert_close(logits, expected)


def test_without_class_counts_the_hook_is_named():
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        gml_head(counts=None).loss(*batch(), train_cfg={})


def test_tau_norm_and_compensation_at_test_time_only():
    changes = dict(
        classifier=dict(type='lt_mm.TauNormConv2d', tau=1.0),
        post_compensation=dict(class_counts=COUNTS, alpha=0.5),
        dropout_ratio=0,
    )
    head, other = long_tail(**changes), plain(dropout_ratio=0)
    head.load_state_dict(other.state_dict(), strict=False)
    features = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(head.cls_seg(features), other.cls_seg(features))
    unit = F.normalize(other.conv_seg.weight, dim=1)
    expected = F.conv2d(features, unit) - 0.5 * LOG_PRIOR
    torch.testing.assert_close(head.eval().cls_seg(features), expected)


def test_compensation_commutes_with_upsampling():
    head, inputs = long_tail(post_compensation=dict()), inputs_of()
    compensated = predict(head, inputs)
    post, head.post_compensation = head.post_compensation, None
    torch.testing.assert_close(compensated, post(predict(head, inputs)))


def test_the_alignment_and_the_contrast_see_the_features_before_dropout():
    head, seen = gml_head(alignment=DISALIGN, dropout_ratio=0.9), []
    head.alignment.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    head.contrast.contrast = lambda batch: seen.append(batch.queries[0]) or {}
    samples, features = samples_of(), torch.randn(2, 8, 4, 4)
    head.loss_by_feat(head.cls_seg(features), samples)
    assert seen[0] is features
    assert torch.equal(seen[1], labelled(features, samples)[0])


def test_scaled_cosine_classifier():
    head = long_tail(classifier='cosine', classifier_temperature=0.1, alignment=LWS)
    assert isinstance(head.conv_seg, CosineConv2d) and head.conv_seg.temperature == 0.1
    assert long_tail(classifier='cosine').conv_seg.temperature == 0.05
    assert {'conv_seg.weight', 'alignment.scale'} <= step(head, batch())[1]


def test_the_frozen_classifier_alone_stays():
    head = long_tail(alignment=DISALIGN, freeze_classifier=True)
    _, moved = step(head, batch())
    assert moved == {name for name, _ in head.named_parameters() if 'conv_seg' not in name}


@pytest.mark.parametrize('size', [4, 8], ids=['of one size', 'of a larger teacher'])
def test_loss_kd_restated(size):
    """Every pixel, ignored or not: the student's softmax from the teacher's, at T = 2."""
    head = long_tail(distillation=dict(type='lt_mm.KDLoss', temperature=2.0, loss_weight=0.7))
    samples, features = samples_of(), torch.randn(2, 8, 4, 4)
    offered = torch.randn(2, 4, size, size)
    logits = head.cls_seg(features)
    with head.taught_by(taught(None, offered)):
        loss = head.loss_by_feat(logits, samples)['loss_kd']
    if size != 4:
        offered = F.interpolate(offered, size=(4, 4), mode='bilinear', align_corners=False)
    total = 0.0
    for n in range(2):
        for i in range(4):
            for j in range(4):
                p = (offered[n, :, i, j].double() / 2).softmax(0)
                q = (logits[n, :, i, j].double() / 2).softmax(0)
                total += 4 * (p * (p / q).log()).sum()
    torch.testing.assert_close(loss.double(), 0.7 * total / 32, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('base', ['DAHead', 'DDRHead', 'EncHead', 'PIDHead'])
def test_heads_of_several_maps_distil_what_they_predict_with(base):
    head = long_tail(base, distillation=dict(type='lt_mm.KDLoss'), dropout_ratio=0)
    data, seen = batch(base), []
    head.conv_seg.register_forward_hook(lambda *given: seen.append(given[-1]))
    offered = torch.randn(2, 4, 4, 4)
    with head.taught_by(taught(None, offered)):
        losses, _ = step(head, data)
    logits = seen[0]
    resized = F.interpolate(offered, size=logits.shape[2:], mode='bilinear', align_corners=False)
    torch.testing.assert_close(losses['loss_kd'], KDLoss()(logits, resized))


def test_losses_that_are_called_without_the_label_to_ignore():
    head, (inputs, samples) = long_tail('DDRHead', dropout_ratio=0), batch('DDRHead')
    losses = head.loss(inputs, samples, {})
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
    for name, logits in zip(('loss_context', 'loss_spatial'), head(inputs), strict=True):
        logits = F.interpolate(logits, size=(16, 16), mode='bilinear', align_corners=False)
        expected = F.cross_entropy(logits + LOG_PRIOR, labels, ignore_index=255)
        torch.testing.assert_close(losses[name], expected)


def test_the_losses_of_an_evaluation_have_no_contrast_to_give():
    head = gml_head().eval()
    with pytest.raises(RuntimeError, match='cls_seg in eval mode, .* features the contrast is to'):
        head.loss(*batch(), train_cfg={})
    assert not head.contrast.queue.filled.any()


def test_a_distillation_without_a_teacher():
    head = long_tail(distillation=dict(type='lt_mm.KDLoss'))
    with pytest.raises(ValueError, match='distillation of LongTailFCNHead has no teacher; use'):
        head.loss(*batch(), train_cfg={})
    with head.taught_by(taught(None, torch.zeros(2, 5, 4, 4))):
        with pytest.raises(ValueError, match=r'shape \(2, 5, 4, 4\), but .* of the same classes'):
            head.loss(*batch(), train_cfg={})


def test_options_that_do_not_go_together():
    def refuses(message, **changes):
        with pytest.raises(ValueError, match=message):
            MODELS.build(config(**changes))

    message = 'out_channels=1 for 2 classes, but needs one output channel a class; set out_ch'
    for further in (dict(), dict(post_compensation=dict(class_counts=[2, 1])), dict(contrast=GML)):
        refuses(message, num_classes=2, out_channels=1, threshold=0.3, **further)
    refuses('freeze_classifier of LongTailFCNHead leaves nothing', freeze_classifier=True)
    refuses("classifier of LongTailFCNHead is 'round'; use 'linear', 'cosine'", classifier='round')
    refuses("is 'class_means', which there is for images alone; use 'li", classifier='class_means')
    refuses("0.1, but the classifier is 'linear' and has none", classifier_temperature=0.1)
    refuses('is a LogitAdjustedLoss, which compares no features; use', contrast=ADJUSTED)
    crd = dict(type='lt_mm.CRDLoss', num_samples=9, num_negatives=2)
    refuses('is a CRDLoss, which compares whole images; use lt_mm.GMLLoss', contrast=crd)
