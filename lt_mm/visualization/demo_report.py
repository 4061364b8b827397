"""What a comparison of segmentation runs is shown as, beside its table: two pictures."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import inference_model, init_model
from PIL import Image

from lt_mm.visualization.per_class import plot_accuracy_against_frequency
from lt_mm.visualization.predictions import plot_predictions


def draw_per_class(csv_files: Mapping[str, Path], path: Path) -> Path:
    """Per-class accuracy against training frequency from the CSV files of LongTailIoUMetric.

    Args:
        csv_files: name in the legend to the file.
        path: of the picture.
    """
    accuracies: dict[str, list[float]] = {}
    for name, file in csv_files.items():
        with file.open(newline='', encoding='utf-8') as stream:
            rows = list(csv.DictReader(stream))
        accuracies[name] = [float(row['acc'] or 'nan') for row in rows]
    counts = [int(row['count']) for row in rows]
    return plot_accuracy_against_frequency(counts, accuracies, [r['class'] for r in rows], path)


def draw_predictions(
    models: Mapping[str, tuple[Config, str]], path: Path, num_images: int = 4
) -> Path:
    """Validation images that show the rarest classes, with ground truth and predictions.

    Args:
        models: name in the heading to (config, checkpoint).
        path: of the picture.
        num_images: how many images.
    """
    first, _ = next(iter(models.values()))
    init_default_scope(first.default_scope)
    dataset = DATASETS.build(first.val_dataloader.dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    truths = [np.asarray(Image.open(info['seg_map_path'])).astype(int) - 1 for info in infos]
    # The classes come in the order of falling frequency, so the largest label is the rarest.
    chosen = np.argsort([-truth.max() for truth in truths], kind='stable')
    chosen = chosen[:: max(1, len(chosen) // (2 * num_images))][:num_images]
    files = [infos[index]['img_path'] for index in chosen]
    predictions = {}
    for name, (config, checkpoint) in models.items():
        model = init_model(config, checkpoint, device='cpu')
        outputs = [inference_model(model, file) for file in files]
        predictions[name] = [output.pred_sem_seg.data[0].numpy() for output in outputs]
    return plot_predictions(
        [np.asarray(Image.open(file)) for file in files],
        [np.where(truths[index] < 0, 255, truths[index]) for index in chosen],
        predictions, dataset.metainfo['classes'], dataset.metainfo['palette'], path,
    )  # fmt: skip
