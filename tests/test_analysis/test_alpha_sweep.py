"""Sums under many offsets, against plain loops over one offset at a time."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS as MMSEG
from torch import nn

from lt_mm.analysis.alpha_sweep import (
    CHOOSE,
    REPORT,
    AlphaSweep,
    alpha_offsets,
    prior_offset,
    trained_alpha,
)
from lt_mm.functional import post_compensate
from lt_mm.functional.post_compensation import NEVER
from lt_mm.structures import ClassCounts, ClassGroups

COUNTS = ClassCounts([700, 200, 90, 10, 0], unit='pixels')
ALPHAS = [0.0, 0.5, 1.0, 1.5, 2.0]
GROUPS = ClassGroups.by_lists(dict(head=[0], body=[1, 2], tail=[3, 4])).split(None, 5)


def pixel_samples(number=6, size=(9, 11), seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(number):
        labels = torch.randint(4, (1, *size), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
        logits = 2 * torch.randn(5, *size, generator=generator)
        samples.append(
            dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=labels), img_path='a.png')
        )
    return samples


def naive_iou(samples, offset):
    hits, predicted, labelled = (np.zeros(5) for _ in range(3))
    for sample in samples:
        logits = sample['seg_logits']['data'] + offset[:, None, None]
        for guess, label in zip(
            logits.argmax(0).flatten().tolist(),
            sample['gt_sem_seg']['data'].flatten().tolist(),
            strict=True,
        ):
            if label != 255:
                hits[guess] += guess == label
                predicted[guess] += 1
                labelled[label] += 1
    with np.errstate(invalid='ignore'):
        return 100 * hits / (predicted + labelled - hits)


def test_every_row_is_that_of_a_pass_of_its_own():
    samples = pixel_samples()
    offsets = alpha_offsets(COUNTS.log_prior(), ALPHAS, 0.0)
    metric = AlphaSweep(len(samples))
    metric.start(offsets, [range(5)])
    for i in range(0, 6, 2):
        metric.process(None, samples[i : i + 2])
    whole = metric.figures(None, GROUPS)
    halves = [metric.figures(half, GROUPS) for half in (CHOOSE, REPORT)]
    for row, offset in enumerate(offsets):
        expected = naive_iou(samples, offset)
        assert whole['mIoU'][row] == pytest.approx(np.nanmean(expected))
        assert whole['body_IoU'][row] == pytest.approx(expected[1:3].mean())
        for half, figures in enumerate(halves):
            part = [s for s, h in zip(samples, metric.half, strict=True) if h == half]
            # Class 4 has no label.
            assert figures['mIoU'][row] == pytest.approx(naive_iou(part, offset)[:4].mean())


def test_a_class_that_a_half_lacks_is_in_no_row_of_it():
    samples = pixel_samples(number=8)
    metric = AlphaSweep(len(samples), bootstrap=0)
    for sample, half in zip(samples, metric.half, strict=True):
        labels = sample['gt_sem_seg']['data']
        if half == CHOOSE:
            labels[labels == 3] = 2
        sample['seg_logits']['data'][3:] -= 20
    offsets = torch.zeros(2, 5)
    offsets[1, 3] = 20
    metric.start(offsets, [range(2)])
    metric.process(None, samples)
    figures = metric.figures(CHOOSE, GROUPS)
    part = [s for s, half in zip(samples, metric.half, strict=True) if half == CHOOSE]
    for row, offset in enumerate(offsets):
        assert figures['mIoU'][row] == pytest.approx(naive_iou(part, offset)[:3].mean())
    assert np.isnan(figures['tail_IoU']).all()
    whole = [np.nanmean(naive_iou(samples, offset)) for offset in offsets]
    assert metric.figures(None, GROUPS)['mIoU'] == pytest.approx(whole)


def test_a_class_unseen_in_training_is_predicted_by_no_adjusted_row():
    samples = pixel_samples()
    metric = AlphaSweep(len(samples), bootstrap=0)
    metric.start(alpha_offsets(COUNTS.log_prior(), ALPHAS, 0.0), [range(5)])
    metric.process(None, samples)
    assert (metric.predicted[:, 1:, 4] == 0).all()
    assert metric.predicted[:, 0, 4].sum() > 0


def test_the_bootstrap_has_the_spread_of_the_images():
    samples = pixel_samples(number=400, size=(3, 4))
    metric = AlphaSweep(len(samples), only_report=True, bootstrap=400)
    metric.start(alpha_offsets(COUNTS.log_prior(), ALPHAS[:2], 0.0), [range(2)])
    metric.process(None, samples)
    drawn = metric.replicated(GROUPS)['aAcc']
    whole = metric.figures(REPORT, GROUPS)['aAcc']
    rng = np.random.default_rng(0)
    right, labelled = [], []
    for sample in samples:
        label = sample['gt_sem_seg']['data'][0]
        guess = sample['seg_logits']['data'].argmax(0)
        right.append(int(((guess == label) & (label != 255)).sum()))
        labelled.append(int((label != 255).sum()))
    right, labelled = np.array(right), np.array(labelled)
    picks = rng.integers(400, size=(2000, 400))
    spread = (100 * right[picks].sum(1) / labelled[picks].sum(1)).std()
    assert drawn[:, 0].std() == pytest.approx(spread, rel=0.15)
    assert drawn[:, 0].mean() == pytest.approx(whole[0], abs=3 * spread / 20)


def test_scores_of_images():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=generator)
    labels = torch.randint(4, (200,), generator=generator)
    samples = [
        dict(pred_score=row.softmax(0), gt_label=label[None])
        for row, label in zip(logits, labels, strict=True)
    ]
    offsets = alpha_offsets(COUNTS.log_prior(), ALPHAS, 0.0)
    metric = AlphaSweep(200)
    metric.start(offsets, [range(5)])
    metric.process(None, samples)
    figures = metric.figures(None, GROUPS)
    for row, offset in enumerate(offsets):
        guesses = (logits + offset).argmax(1)
        assert figures['top1'][row] == pytest.approx(100 * (guesses == labels).float().mean())
        macro = np.mean([float((guesses == c)[labels == c].float().mean()) for c in range(4)])
        assert figures['macro'][row] == pytest.approx(100 * macro)
        confidence = (logits + offset).softmax(1).amax(1)
        error = 0.0
        for low in np.arange(15) / 15:
            inside = (confidence > low) & (confidence <= low + 1 / 15)
            if inside.any():
                right = (guesses == labels)[inside].double().mean()
                error += float(inside.sum() * (right - confidence[inside].double().mean()).abs())
        assert figures['ECE'][row] == pytest.approx(100 * error / 200, abs=1e-3)


def test_what_is_kept_stands_for_all():
    samples = pixel_samples(number=20, size=(20, 30))
    metric = AlphaSweep(20, keep=True)
    metric.start(alpha_offsets(COUNTS.log_prior(), ALPHAS, 0.0), [range(5)])
    metric.process(None, samples)
    for half in (CHOOSE, REPORT):
        kept = metric.kept(half)
        assert kept.weights.sum().item() == pytest.approx(int(metric.labelled[half].sum()))
        assert kept.logits.shape == (len(kept.labels), 5)
    kept = metric.kept(CHOOSE)
    for c in range(4):
        share = kept.weights[kept.labels == c].sum().item()
        assert share == pytest.approx(int(metric.labelled[CHOOSE, c]))


def test_offsets_of_alphas_and_of_a_prior():
    log_prior = COUNTS.log_prior()
    logits = torch.randn(4, 5)
    offsets = alpha_offsets(log_prior, [0.0, 1.0], 0.25)
    torch.testing.assert_close(logits + offsets[1], post_compensate(logits, log_prior, 0.75))
    torch.testing.assert_close(logits + offsets[0], post_compensate(logits, log_prior, -0.25))
    assert not alpha_offsets(log_prior, [0.25], 0.25).any()
    target = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0], dtype=torch.float64)
    row = prior_offset(log_prior, target, 1.0)
    torch.testing.assert_close(row[:4], target[:4].log().float())
    assert row[4] == NEVER


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(seg_logits=dict(data=torch.zeros(1, 9, 11))), '1 logits for 5 classes'),
        (dict(seg_logits=dict(data=torch.full((5, 9, 11), torch.nan))), 'a.png has logits'),
        (dict(gt_sem_seg=dict(data=torch.full((1, 9, 11), 7))), 'a.png has the label 7'),
        (dict(gt_sem_seg=dict(data=torch.zeros(1, 9, 12))), 'load annotations after Resize'),
    ],
)
def test_bad_samples_are_named(change, message):
    metric = AlphaSweep(1)
    metric.start(alpha_offsets(COUNTS.log_prior(), ALPHAS, 0.0), [range(5)])
    with pytest.raises(ValueError, match=message):
        metric.process(None, [pixel_samples(1)[0] | change])


def test_a_sample_without_scores():
    metric = AlphaSweep(1)
    metric.start(alpha_offsets(COUNTS.log_prior(), ALPHAS, 0.0))
    with pytest.raises(ValueError, match='neither seg_logits'):
        metric.process(None, [dict(img_path='a.png')])


def head(**settings):
    common = dict(in_channels=4, channels=4, num_classes=5, num_convs=0, concat_input=False)
    return MMSEG.build(dict(type='FCNHead', **common) | settings)


@pytest.mark.parametrize(
    ('settings', 'alpha', 'reason'),
    [
        (dict(), 0, 'CrossEntropyLoss, which adjusts no logits'),
        (dict(loss_decode=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.3)), 0.3, 'LogitAdjusted'),
        (dict(loss_decode=dict(type='lt_mm.LADELoss')), 1, 'LADELoss'),
        (dict(type='lt_mm.GMLFCNHead', alpha=0.7), 0.7, 'LogitAdjustedLoss'),
        (
            dict(type='lt_mm.LongTailHead', base='FCNHead', post_compensation=dict(alpha=0.5)),
            0.5,
            'post_compensation has alpha=0.5',
        ),
    ],
)
def test_alpha_of_the_training(settings, alpha, reason):
    model = nn.Module()
    model.decode_head = head(**settings)
    found = trained_alpha(model)
    assert found.alpha == alpha
    assert reason in found.reason


def test_alpha_that_cannot_be_told():
    model = nn.Module()
    with pytest.raises(ValueError, match='without decode_head'):
        trained_alpha(model)
    losses = [
        dict(type='CrossEntropyLoss', loss_name='loss_a'),
        dict(type='lt_mm.LogitAdjustedLoss', loss_name='loss_b'),
    ]
    model.decode_head = head(loss_decode=losses)
    with pytest.raises(ValueError, match='several alphas'):
        trained_alpha(model)
