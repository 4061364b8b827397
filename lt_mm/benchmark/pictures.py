"""Predictions of trained segmentors, side by side."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import init_model

from lt_mm.structures import ClassCounts
from lt_mm.visualization import plot_predictions

# Images that are looked at for rare classes.
_MOST_READ = 500


def draw_predictions(
    models: Mapping[str, tuple[Config, str]],
    class_counts: ClassCounts,
    path: Path,
    num_images: int = 4,
    device: str = 'cpu',
) -> Path:
    """Validation images that show the rarest classes, with ground truth and predictions.

    Args:
        models: name in the heading to (config, checkpoint).
        class_counts: of the training set.
        path: of the picture.
        num_images: how many images.
        device: that predicts.
    """
    first, _ = next(iter(models.values()))
    init_default_scope(first.get('default_scope') or 'mmseg')
    dataset = DATASETS.build(deepcopy(first.val_dataloader.dataset))
    ignored = int(dataset.ignore_index) if hasattr(dataset, 'ignore_index') else 255
    read = range(0, len(dataset), -(-len(dataset) // _MOST_READ))
    # Place of each class in the order of falling frequency.
    counts = class_counts.counts.numpy()
    places = np.empty(len(counts), dtype=np.int64)
    places[np.argsort(-counts, kind='stable')] = np.arange(len(counts))
    rarest = []
    for index in read:
        shown = np.unique(_truth(dataset[index]))
        shown = shown[shown < len(counts)]
        rarest.append(places[shown].max() if shown.size else -1)
    chosen = np.argsort(-np.array(rarest), kind='stable')
    chosen = chosen[:: max(1, len(chosen) // (2 * num_images))][:num_images]
    samples = [dataset[read[i]] for i in chosen]
    predictions = {}
    for name, (config, checkpoint) in models.items():
        model = init_model(deepcopy(config), checkpoint, device=device)
        with torch.no_grad():
            outputs = [model.test_step(pseudo_collate([deepcopy(one)]))[0] for one in samples]
        predictions[name] = [output.pred_sem_seg.data[0].cpu().numpy() for output in outputs]
    paths = [sample['data_samples'].img_path for sample in samples]
    return plot_predictions(
        [mmcv.imread(each, channel_order='rgb') for each in paths],
        [_truth(sample) for sample in samples],
        predictions,
        dataset.metainfo['classes'],
        dataset.metainfo.get('palette') or _palette(len(counts)),
        path,
        ignored,
    )


def _truth(sample: dict) -> np.ndarray:
    """Labels of a sample, (H, W)."""
    return sample['data_samples'].gt_sem_seg.data[0].numpy().astype(int)


def _palette(num_classes: int) -> list[list[int]]:
    """Colours for a data set that names none."""
    return np.random.default_rng(0).integers(40, 256, (num_classes, 3)).tolist()
