"""Confusion matrix of a checkpoint on the test set, for segmentation and classification.

Rows are labels, columns predictions. The picture has the percentages of each row; confusion.csv has
the pixels or images themselves.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator

from lt_mm.analysis.inputs import build_dataset, check_weights
from lt_mm.checkpoints import load_weights
from lt_mm.datasets.label_reading import locate
from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.distributed import build_runner, unwrapped
from lt_mm.engine.launch import add_config_arguments, check_writable, load_config, stop
from lt_mm.visualization.backends import add_to_backends
from lt_mm.visualization.confusion import plot_confusion

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth file, or the address of one')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='DIR',
        help='folder of the results; default: WORK_DIR of the config/confusion',
    )
    return parser.parse_args()


class Confusion(BaseMetric):
    """(C, C) numbers of pixels or images, labels by predictions.

    Args:
        num_classes: C.
        ignore_index: label of pixels to leave out.
    """

    default_prefix = 'confusion'

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.matrix = np.zeros((num_classes, num_classes), np.int64)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            data_batch: not used.
            data_samples: outputs of the model, with labels.

        Raises:
            ValueError: if one has no label, or one that is no class.
        """
        size = len(self.matrix)
        for sample in data_samples:
            keys = ('gt_sem_seg', 'pred_sem_seg') if 'pred_sem_seg' in sample else ()
            keys = keys or ('gt_label', 'pred_label')
            if any(key not in sample for key in keys):
                raise ValueError(
                    f'{sample.get("img_path")} has no {" and ".join(keys)}: load annotations in '
                    'the pipeline of the test set.'
                )
            values = [sample[key]['data'] if '_sem_' in key else sample[key] for key in keys]
            labels, predicted = (value.flatten().long().cpu() for value in values)
            known = labels != self.ignore_index
            labels, predicted = labels[known], predicted[known]
            if len(labels) and not 0 <= labels.min() <= labels.max() < size:
                wrong = labels[(labels < 0) | (labels >= size)][0]
                raise ValueError(
                    f'{sample.get("img_path")} has label {wrong}, which is none of the {size} '
                    'classes: check reduce_zero_label and ignore_index of the test set.'
                )
            pairs = torch.bincount(labels * size + predicted, minlength=size * size)
            self.matrix += pairs.reshape(size, size).numpy()

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing: the sums are read as they are."""
        return {}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Nothing, see :meth:`evaluate`."""
        return {}


def main() -> None:
    """Run, write, draw."""
    args = parse_args()
    config = load_config(args, ROOT)
    out = args.out or Path(config.work_dir, 'confusion')
    if config.get('test_dataloader') is None:
        stop(f'{args.config} has no test_dataloader: add one.')
    config.test_evaluator = []
    config.test_cfg = config.get('test_cfg') or dict()
    config.load_from = args.checkpoint
    config.work_dir = str(out)
    try:
        check_dataset_paths(config, ('test_dataloader',))
        check_writable(out, '--out', ('confusion.csv', 'confusion.png'))
        dataset = build_dataset(config.test_dataloader, 'test')
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if not classes:
            raise ValueError('the test set has no class names: give it metainfo=dict(classes=...).')
        weights = load_weights(args.checkpoint)
        runner = build_runner(config, terse=True)
        check_weights(unwrapped(runner.model), weights, args.checkpoint)
        ignore_index = getattr(locate(dataset, 0)[0], 'ignore_index', 255)
        metric = Confusion(len(classes), ignore_index)
        runner.test_loop.evaluator = Evaluator([metric])
        runner.test()
    except (OSError, ValueError) as error:
        stop(f'No confusion matrix of {args.config}: {error}')
    with (out / 'confusion.csv').open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(['label', *classes])
        table.writerows([name, *row] for name, row in zip(classes, metric.matrix, strict=True))
    picture = plot_confusion(metric.matrix, classes, out / 'confusion.png')
    add_to_backends(config, dict(confusion=picture), out)
    right = metric.matrix.trace() / max(metric.matrix.sum(), 1)
    print(f'{100 * right:.2f} % of {metric.matrix.sum():,} are right.')
    for path in (out / 'confusion.csv', picture):
        print(path)


if __name__ == '__main__':
    main()
