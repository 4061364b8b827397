"""Scores and labels out of the data samples of mmpretrain (images) and of mmseg (pixels)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# Scores of half precision add up to one within this.
TOLERANCE = 1e-2
ACTIVATIONS = ('softmax', 'sigmoid', 'sum', 'none')


def of_classifier(data_samples: Sequence[dict]) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Scores and labels of images: of all but the last one, then of that one.

    Args:
        data_samples: each with 'pred_score' (C,) and 'gt_label' (1,).

    Yields:
        Scores (N, C), labels (N,) and the number N of images.

    Raises:
        ValueError: if a sample lacks scores or has not exactly one label.
    """
    for sample in data_samples:
        if (
            'pred_score' not in sample
            or 'gt_label' not in sample
            or sample['gt_label'].numel() != 1
        ):
            raise ValueError(
                'CalibrationError got an image without pred_score or without exactly one gt_label: '
                'evaluate a model that gives scores on labelled images of a single-label data set.'
            )
    scores = torch.stack([sample['pred_score'] for sample in data_samples])
    labels = torch.cat([sample['gt_label'].flatten() for sample in data_samples]).to(scores.device)
    if len(scores) > 1:
        yield scores[:-1], labels[:-1], len(scores) - 1
    yield scores[-1:], labels[-1:], 1


def of_segmentor(sample: dict) -> tuple[Tensor, Tensor, int]:
    """Scores and labels of the pixels of an image.

    Args:
        sample: with 'seg_logits' of data (C, H, W) and 'gt_sem_seg' of data (1, H, W).

    Returns:
        Scores (H W, C), labels (H W,) and the number of images, 1.

    Raises:
        ValueError: if the sample lacks one of them, or they differ in size.
    """
    if 'seg_logits' not in sample or 'gt_sem_seg' not in sample:
        raise ValueError(
            'CalibrationError got a sample without pred_score, and without seg_logits or '
            'gt_sem_seg: evaluate a model that gives scores on labelled images.'
        )
    scores, labels = sample['seg_logits']['data'], sample['gt_sem_seg']['data'].squeeze(0)
    if scores.shape[1:] != labels.shape:
        raise ValueError(
            f'CalibrationError got seg_logits of {tuple(scores.shape[1:])} pixels and labels of '
            f'{tuple(labels.shape)}: load annotations after Resize in the test pipeline.'
        )
    return scores.flatten(1).T, labels.flatten().to(scores.device), 1


def has_several_views(data_batch: Any) -> bool:
    """Whether a batch is that of test-time augmentation: several views of each image.

    Args:
        data_batch: what the data loader of a test gave, with the views first: 'inputs' is a list of
            lists of images, or of batches of images.
    """
    inputs = data_batch.get('inputs') if isinstance(data_batch, Mapping) else None
    if not isinstance(inputs, list | tuple) or len(inputs) < 2:
        return False
    return any(isinstance(view, list | tuple) or view.dim() > 3 for view in inputs)


def is_merged(sample: dict) -> bool:
    """Whether the prediction of a segmentor is that of other scores than those beside it.

    Args:
        sample: with 'seg_logits' of data (C, H, W) and perhaps 'pred_sem_seg' of data (1, H, W). Of
            a head with one output, whose threshold is unknown, nothing can be told.
    """
    if 'pred_sem_seg' not in sample or 'seg_logits' not in sample:
        return False
    scores = sample['seg_logits']['data']
    prediction = sample['pred_sem_seg']['data'].squeeze(0)
    if scores.shape[0] == 1 or scores.shape[1:] != prediction.shape:
        return False
    best = scores.amax(dim=0)
    own = scores.gather(0, prediction.long().clamp(0, len(scores) - 1)[None]).squeeze(0)
    return bool((own < best).any())


def check_sums(probabilities: Tensor) -> None:
    """Refuse rows that are no distribution over classes, beside those with NaN.

    Args:
        probabilities: (N, C).

    Raises:
        ValueError: if a row does not sum to one.
    """
    sums = probabilities.double().sum(dim=1)
    wrong = (sums - 1).abs() > TOLERANCE
    if wrong.any():
        raise ValueError(
            f'CalibrationError got scores that sum to {sums[wrong][0].item():g} over classes: give '
            "probabilities that sum to 1, or activation='sigmoid', 'softmax' or 'sum', which make "
            'such of them.'
        )


def to_probabilities(scores: Tensor, activation: str) -> Tensor:
    """Make probabilities of scores.

    Args:
        scores: (N, C).
        activation: 'softmax' over classes; 'sigmoid', divided by its sum over classes; 'sum', only
            that division; 'none'.

    Returns:
        (N, C) in float64; with 'none', what was given.

    Raises:
        ValueError: if scores to be divided by their sum are negative.
    """
    if activation == 'none':
        return scores
    scores = scores.double()
    if activation == 'softmax':
        return scores.softmax(dim=1)
    if activation == 'sigmoid':
        scores = scores.sigmoid()
    elif (scores < 0).any():
        raise ValueError(
            f'CalibrationError got the score {scores.min().item():g}, but activation='
            f'{activation!r} divides scores of 0 or more by their sum: use softmax or sigmoid.'
        )
    return scores / scores.sum(dim=1, keepdim=True)
